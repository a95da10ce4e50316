"""A server writes down who did what, and does nothing it cannot write down where it is set to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.app import build_app
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.config import Audit, EngineProcess, Limits, Loras, Settings
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.storage.audit_texts import AuditTexts
from sdxl_gateway.storage.database import opened as opened_database
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.telemetry.audit import writer
from sdxl_gateway.telemetry.audit.chain import Chain
from sdxl_gateway.telemetry.audit.export import lines_of
from sdxl_gateway.telemetry.audit.verify import verify
from tests.kit.api import GENERATE
from tests.kit.gateway import opened

# Building the application sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")
SAID = {"prompt": "a red circle", "size": "64x64", "steps": 2, "response_format": "b64_json"}


def local(engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    return LocalBackend(opened, queue_size=limits.queue_size, listener=listener)


@asynccontextmanager
async def serving(folder: Path, **audit: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(
        Settings(data_directory=folder, loras=Loras(directory=folder, watch=False), audit=Audit(**audit)), local
    )
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gw") as client,
        asyncio.timeout(30),
    ):
        yield client


def _said(folder: Path) -> list[tuple[str, str]]:
    return [(line["event"], line["outcome"]) for line in lines_of(Chain(folder / "audit"))]


@pytest.mark.parametrize("prompts", [False, True])
async def test_a_picture_and_a_refusal(tmp_path: Path, prompts: bool) -> None:
    async with serving(tmp_path, prompts=prompts) as http:
        assert (await http.post(GENERATE, json=SAID)).status_code == 200
        assert (await http.post(GENERATE, json={**SAID, "steps": -1})).status_code == 400
        assert (await http.get("/v1/models")).status_code == 200
    said = [one for one in _said(tmp_path) if one[0] != "engine.lost"]
    assert [*said[:2], *said[-1:]] == [("server.started", "done"), ("engine.opened", "done"), ("server.ended", "done")]
    assert sorted(said[2:-1]) == [("job", "done"), ("request", "done"), ("request", "integer_below_min_value")]
    assert verify(Chain(tmp_path / "audit")).broken is None
    with opened_database(tmp_path) as database:
        kept = await AuditTexts(database, Seal()).export("anonymous")
    assert [one["prompt"] for one in kept] == (["a red circle"] if prompts else [])


@pytest.mark.parametrize("when_full", ["continue", "refuse"])
async def test_a_log_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when_full: str) -> None:
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.02)
    in_the_way = tmp_path / "audit"
    in_the_way.write_bytes(b"")
    async with serving(tmp_path, when_full=when_full) as http:
        while "sdxl_gateway_audit_failing 1.0" not in (await http.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        refused = await http.post(GENERATE, json=SAID)
        assert refused.status_code == (507 if when_full == "refuse" else 200)
        assert (await http.get("/v1/models")).status_code == 200
        in_the_way.unlink()
        while "sdxl_gateway_audit_failing 0.0" not in (await http.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await http.post(GENERATE, json=SAID)).status_code == 200
    said = _said(tmp_path)
    assert said[0] == ("server.started", "done")
    assert (("request", "storage_full") in said) is (when_full == "refuse")
