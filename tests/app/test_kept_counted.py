"""What outlives its request is counted as it comes and goes, by a server as it is put together."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx
import pytest

from sdxl_gateway.app import _application, _running_alone
from sdxl_gateway.config import Loras, Settings
from sdxl_gateway.rooms import Rooms, build_rooms
from tests.kit.api import GENERATE
from tests.kit.batches import request
from tests.kit.colours import colour_backend
from tests.kit.webhooks import until

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
ASKED = {"prompt": "a fox", "steps": 1, "size": "64x64"}


def counted(rooms: Rooms, name: str, outcome: str) -> float:
    labels = {"outcome": outcome}
    return rooms.observers.metrics.registry.get_sample_value(f"sdxl_gateway_{name}_total", labels) or 0.0


async def test_jobs_batches_files_and_replies(tmp_path: Path) -> None:
    settings = Settings(data_directory=tmp_path / "data", loras=Loras(directory=tmp_path))
    built = build_rooms(settings, colour_backend)
    application = _application(built, partial(_running_alone, built))
    transport = httpx.ASGITransport(app=application)
    async with _running_alone(built), httpx.AsyncClient(transport=transport, base_url="http://gw") as http:
        for _ in range(3):
            await http.post(GENERATE, json=ASKED, headers={"idempotency-key": "one"})
        await http.post(GENERATE, json=ASKED, headers={"prefer": "respond-async"})
        form = {"file": ("in.jsonl", request("a"))}
        file = await http.post("/v1/files", data={"purpose": "batch"}, files=form)
        asked = {"input_file_id": file.json()["id"], "endpoint": GENERATE, "completion_window": "24h"}
        await http.post("/v1/batches", json=asked)
        await until(partial(_all_over, built))
        await http.delete(f"/v1/files/{file.json()['id']}")
    found = {
        (name, outcome): counted(built, name, outcome)
        for name, outcomes in {
            "async_jobs": ("accepted", "completed"),
            "batches": ("accepted", "completed"),
            "files": ("stored", "deleted"),
            "idempotent_replies": ("kept", "replayed"),
        }.items()
        for outcome in outcomes
    }
    assert list(found.values()) == [2, 2, 1, 1, 2, 1, 1, 2], found


async def _all_over(rooms: Rooms) -> bool:
    return (counted(rooms, "batches", "completed"), counted(rooms, "async_jobs", "completed")) == (1, 2)
