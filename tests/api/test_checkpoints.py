"""Tests api/endpoints/checkpoints.py: checkpoints are listed, and beside them what cannot be used."""

from __future__ import annotations

from sdxl_gateway.core.errors import StillLoading
from tests.kit.api import client, failing, served_api


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
