"""Tests api/endpoints/loras.py, asks/model_upload.py and asks/lora_sidecar.py: LoRAs come, change and go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.api import client, served_api
from tests.kit.forms import FORM, file, form, part

ADMIN = {"authorization": "Bearer root"}
KEYS: dict[str, Any] = {"auth": {"admin_keys": ["root"]}}
BARE = {"content-type": "application/octet-stream"}


async def test_a_lora_comes_is_seen_and_goes() -> None:
    served = served_api(**KEYS)
    body = form(part("name", "ink"), file("file", b"tensors" * 1000, "ignored/../name.safetensors"))
    async with client(served, ADMIN) as http:
        added = await http.post("/v1/loras", headers=FORM, content=body)
        again = await http.post("/v1/loras", headers=FORM, content=body)
        over = await http.post("/v1/loras?replace=true", headers=FORM, content=body)
        listed = await http.get("/v1/loras")
        one = await http.get("/v1/loras/ink")
        gone = await http.delete("/v1/loras/ink")
        missing = await http.get("/v1/loras/ink")
    assert (added.status_code, added.json()) == (201, {"name": "ink", "bytes": 7000})
    assert (again.status_code, over.status_code) == (400, 201)
    assert (listed.json()["data"], one.status_code) == ([{"name": "ink", "bytes": 7000}], 200)
    assert gone.json() == {"id": "ink", "object": "lora", "deleted": True}
    assert missing.status_code == 404


async def test_files_that_are_no_loras_are_listed_with_the_reason() -> None:
    async with client(served_api()) as http:
        listed = (await http.get("/v1/loras")).json()
    assert listed["problems"] == [
        {"file": "cut.safetensors", "code": "invalid_lora", "message": "The file is cut short."}
    ]


async def test_a_bare_file_is_taken_too() -> None:
    served = served_api(**KEYS)
    async with client(served, ADMIN) as http:
        assert (await http.post("/v1/loras?name=x", headers=BARE, content=b"abc")).status_code == 201
    assert served.library.files == {"x": b"abc"}


async def test_a_name_may_lead_through_folders() -> None:
    served = served_api(**KEYS)
    async with client(served, ADMIN) as http:
        added = await http.post("/v1/loras", headers=FORM, content=form(part("name", "a/b c"), file("file", b"abc")))
        one = await http.get("/v1/loras/a/b%20c")
        gone = await http.delete("/v1/loras/a/b%20c")
    assert (added.status_code, one.status_code, gone.status_code) == (201, 200, 200)
    assert gone.json()["id"] == "a/b c"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (form(file("file", b"abc")), 400, "name"),
        (form(part("name", "x")), 400, "file"),
        (form(part("name", "../x"), file("file", b"abc")), 400, "name"),
        (form(part("name", "a//b"), file("file", b"abc")), 400, "name"),
        (form(part("name", ".hidden"), file("file", b"abc")), 400, "name"),
        (form(part("name", "x" * 200), file("file", b"abc")), 400, "name"),
        (form(part("name", "x"), part("replace", "perhaps"), file("file", b"abc")), 400, "replace"),
        (form(part("name", "x"), file("file", bytes(2000))), 413, "file"),
        (form(part("name", "x"), file("file", b"abc"))[:-20], 400, None),
        (form(part("name", "x" * 5000), file("file", b"abc")), 400, None),
        (form(part("nmae", "x"), part("name", "x"), file("file", b"abc")), 400, "nmae"),
        (form(part("name", "x"), file("file", b"abc"), part("replace", "true")), 400, "replace"),
        (form(part("name", "x"), file("file", b"abc"), file("file", b"abc")), 400, "file"),
        (form(part("name", "broken"), file("file", b"abc")), 400, "file"),
    ],
    ids=[
        *("no-name", "no-file", "dots", "slash", "hidden", "long", "replace", "large", "cut", "long-field"),
        *("unknown", "after-the-file", "two-files", "broken"),
    ],
)
async def test_bad_uploads_leave_nothing(body: bytes, status: int, param: str | None) -> None:
    served = served_api(loras={"max_file_bytes": 1000}, **KEYS)
    async with client(served, ADMIN) as http:
        answer = await http.post("/v1/loras", headers=FORM, content=body)
        media = await http.post("/v1/loras", json={})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert media.status_code == 415
    assert served.library.files == {}


async def test_what_is_known_about_a_lora_is_changed() -> None:
    served = served_api(**KEYS)
    said = {
        "description": "Loose\n washes. ",
        "trigger_words": ["wet", " inky "],
        "add_trigger_words": True,
        "weight": 0.5,
        "text_encoder_weight": -1,
        "steps": 8.0,
        "guidance_scale": 1.5,
        "sampler": "LCM",
        "schedule": "karras",
        "eta": 0.5,
        "clip_skip": None,
    }
    async with client(served, ADMIN) as http:
        await http.post("/v1/loras?name=a/ink", headers=BARE, content=b"abc")
        changed = await http.post("/v1/loras/a/ink", json=said)
        missing = await http.post("/v1/loras/nope", json={"weight": 1})
    assert changed.status_code == 200
    read = {"description": "Loose washes.", "trigger_words": ["wet", "inky"], "sampler": "lcm", "steps": 8}
    assert changed.json()["side_car"] == said | read
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "name")


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"weight": 5}, "weight"),
        ({"weight": "much"}, "weight"),
        ({"wieght": 1}, "wieght"),
        ({"description": " "}, "description"),
        ({"description": "x" * 501}, "description"),
        ({"trigger_words": "wet"}, "trigger_words"),
        ({"trigger_words": ["wet", 3]}, "trigger_words[1]"),
        ({"trigger_words": [""]}, "trigger_words[0]"),
        ({"trigger_words": ["wet"] * 21}, "trigger_words"),
        ({"add_trigger_words": "perhaps"}, "add_trigger_words"),
        ({"steps": 4.5}, "steps"),
        ({"steps": 151}, "steps"),
        ({"clip_skip": 13}, "clip_skip"),
        ({"sampler": "brush"}, "sampler"),
        ({"schedule": ["karras"]}, "schedule"),
        ({"eta": 2}, "eta"),
        ([], None),
    ],
    ids=str,
)
async def test_a_word_that_cannot_be_is_named(said: object, param: str | None) -> None:
    async with client(served_api(**KEYS), ADMIN) as http:
        await http.post("/v1/loras?name=ink", headers=BARE, content=b"abc")
        answer = await http.post("/v1/loras/ink", json=said)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
