"""Tests api/endpoints/checkpoints.py: checkpoints are listed with what cannot be used, described and removed."""

from __future__ import annotations

import pytest

from sdxl_gateway.core.errors import StillLoading
from tests.kit.api import KEYED, client, failing, served_api

ROOT = {"authorization": "Bearer root"}


async def test_checkpoints_are_listed_with_what_is_none() -> None:
    async with client(served_api(auth={"api_keys": ["sesame"]}), {"authorization": "Bearer sesame"}) as http:
        listed = await http.get("/v1/checkpoints")
    assert (listed.status_code, listed.json()) == (
        200,
        {
            "object": "list",
            "data": [{"id": "demo", "object": "checkpoint", "ready": "warm"}],
            "problems": [{"file": "old.ckpt", "code": "invalid_checkpoint", "message": "It is never opened."}],
            "has_more": False,
        },
    )


async def test_the_list_needs_a_key_where_others_do() -> None:
    async with client(served_api(auth={"api_keys": ["sesame"]})) as http:
        assert (await http.get("/v1/checkpoints")).status_code == 401


async def test_a_model_that_is_still_loading_says_when_to_come_back() -> None:
    async with client(served_api(failing(StillLoading(waited_seconds=2.5)))) as http:
        answer = await http.post("/v1/images/generations", json={"prompt": "a cat"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (503, "model_loading", "model")
    assert answer.headers["retry-after"] == "3"


async def test_what_is_known_about_a_checkpoint_is_changed() -> None:
    said = {
        "description": "Soft\n light. ",
        "steps": 8.0,
        "guidance_scale": 1.5,
        "guidance_end": 0.5,
        "sampler": "LCM",
        "schedule": "karras",
        "clip_skip": None,
        "native_pixels": 1048576,
        "prompt_syntax": "a1111",
        "prediction_type": "v_prediction",
        "zero_snr": True,
    }
    async with client(served_api(**KEYED), ROOT) as http:
        changed = await http.post("/v1/checkpoints/demo", json=said)
        missing = await http.post("/v1/checkpoints/art/nope", json={"steps": 1})
    assert changed.status_code == 200
    assert changed.json()["side_car"] == said | {"description": "Soft light.", "sampler": "lcm", "steps": 8}
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "name")


@pytest.mark.parametrize(
    ("said", "param", "words"),
    [
        ({"vae": "../other"}, "vae", "by hand"),
        ({"refiner": None}, "refiner", "by hand"),
        ({"config": "demo"}, "config", "by hand"),
        ({"path": "/etc"}, "path", ""),
        ({"steps": 151}, "steps", ""),
        ({"native_pixels": 100}, "native_pixels", ""),
        ({"guidance_end": 2}, "guidance_end", ""),
        ({"sampler": "brush"}, "sampler", ""),
        ({"prediction_type": "sample"}, "prediction_type", ""),
        ({"zero_snr": "perhaps"}, "zero_snr", ""),
        ({"description": "x" * 501}, "description", ""),
        ([], None, ""),
    ],
    ids=str,
)
async def test_a_word_that_cannot_be_is_named(said: object, param: str | None, words: str) -> None:
    async with client(served_api(**KEYED), ROOT) as http:
        answer = await http.post("/v1/checkpoints/demo", json=said)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert words in error["message"]


async def test_a_checkpoint_goes() -> None:
    async with client(served_api(**KEYED), ROOT) as http:
        gone, missing = await http.delete("/v1/checkpoints/demo"), await http.delete("/v1/checkpoints/art/nope")
    assert (gone.status_code, gone.json()) == (200, {"id": "demo", "object": "checkpoint", "deleted": True})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_checkpoint_comes_as_a_form_or_bare() -> None:
    served = served_api(**KEYED)
    served.library.max_file_bytes = 100
    bare = {"content-type": "application/octet-stream"}
    async with client(served, ROOT) as http:
        form = await http.post("/v1/checkpoints", data={"name": "art/one"}, files={"file": ("one.safetensors", b"one")})
        plain = await http.post("/v1/checkpoints?name=two", content=b"two", headers=bare)
        again = await http.post("/v1/checkpoints?name=two&replace=true", content=b"two", headers=bare)
        nameless = await http.post("/v1/checkpoints", content=b"two", headers=bare)
        large = await http.post("/v1/checkpoints?name=three", content=bytes(101), headers=bare)
        other = await http.post("/v1/checkpoints?name=two", json={})
    assert [one.status_code for one in (form, plain, again, nameless, large, other)] == [201, 201, 400, 400, 413, 415]
    assert [one.json()["error"]["param"] for one in (again, nameless, large)] == ["replace", "name", "file"]
    assert form.json()["id"] == "art/one"
    assert served.library.files == {"checkpoint art/one": b"one", "checkpoint two": b"two"}
