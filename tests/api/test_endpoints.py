"""Tests api/endpoints/files.py, models.py and health.py, and api/replies/models.py."""

from __future__ import annotations

from pathlib import Path

from tests.kit.api import FakeGateway, client, served_api
from tests.kit.pictures import PNG


async def test_a_kept_picture(tmp_path: Path) -> None:
    served = served_api(directory=tmp_path)
    stored = served.images.put(PNG, "png")
    async with client(served) as http:
        got = await http.get(f"/files/{stored.id}.png")
        head = await http.head(f"/files/{stored.id}.png")
        wrong = await http.get(f"/files/{stored.id}.webp")
        served.images.path_of(stored).unlink()
        gone = await http.get(f"/files/{stored.id}.png")
    assert (got.content, got.headers["content-type"]) == (PNG, "image/png")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert got.headers["cache-control"].startswith("private, max-age=3")
    assert head.headers["content-length"] == str(len(PNG))
    assert wrong.status_code == 404
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "expired")


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
