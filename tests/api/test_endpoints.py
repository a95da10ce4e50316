"""Tests api/endpoints/models.py and health.py, and api/replies/models.py."""

from __future__ import annotations

from tests.kit.api import FakeGateway, client, served_api


async def test_models_with_and_without_the_prefix() -> None:
    async with client(served_api()) as http:
        listed = (await http.get("/models")).json()
        one = (await http.get("/v1/models/org%2Fink")).json()
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert set(listed["data"][0]) == {"id", "object", "created", "owned_by", "kind", "description", "ready"}
    assert (one["id"], one["object"], one["kind"]) == ("org/ink", "model", "lora")


async def test_not_ready_is_503() -> None:
    async with client(served_api(FakeGateway(ready=False))) as http:
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"engines": 1, "ready": False})
        assert (await http.get("/healthz")).status_code == 200
