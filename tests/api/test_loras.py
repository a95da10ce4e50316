"""Tests api/endpoints/loras.py and api/asks/lora_upload.py: LoRAs are listed, shown, added and removed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.api import client, served_api
from tests.kit.forms import FORM, file, form, part

ADMIN = {"authorization": "Bearer root"}
KEYS: dict[str, Any] = {"auth": {"admin_keys": ["root"]}}


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
        headers = {"content-type": "application/octet-stream"}
        assert (await http.post("/v1/loras?name=x", headers=headers, content=b"abc")).status_code == 201
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
    ],
    ids=["no-name", "no-file", "dots", "slash", "hidden", "long", "replace", "large", "cut", "long-field"],
)
async def test_bad_uploads_leave_nothing(body: bytes, status: int, param: str | None) -> None:
    served = served_api(loras={"max_file_bytes": 1000}, **KEYS)
    async with client(served, ADMIN) as http:
        answer = await http.post("/v1/loras", headers=FORM, content=body)
        media = await http.post("/v1/loras", json={})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert media.status_code == 415
    assert served.library.files == {}
