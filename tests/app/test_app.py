"""The world as it is put together: what it imports, what it refuses, whom it loads first."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.admission.first_checkpoint import engine_process
from sdxl_gateway.app import _application, _running_alone, build_app
from sdxl_gateway.backends.fake_engine import open_fake_engine
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import (
    Checkpoint,
    CheckpointFolder,
    EngineProcess,
    HouseStyle,
    Limits,
    Loras,
    Settings,
    Telemetry,
)
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.events import RequestAnswered
from sdxl_gateway.core.listeners import EngineListener, Listeners
from sdxl_gateway.rooms import build_rooms
from sdxl_gateway.telemetry.logs import configure_logs, log_answer
from sdxl_gateway.telemetry.metrics import Metrics
from tests.kit.admission import DEMO, lora_file, opened
from tests.kit.lora_files import write
from tests.kit.model_folders import copy_of_demo

# Building the world sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")
FORBIDDEN = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")
PROGRAM = f"""
import sys
from pathlib import Path
from sdxl_gateway.app import build_app
from sdxl_gateway.config import Loras, Settings

folder = Path(sys.argv[1])
build_app(Settings(data_directory=folder, loras=Loras(directory=folder)))
print([name for name in {FORBIDDEN} if name in sys.modules])
"""


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings(data_directory=folder / "data", loras=Loras(directory=folder), **more)


def test_the_http_process_never_meets_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("default", ["nope", "demo+nope", "nope:0.5", "demo+", "ring"])
def test_a_default_model_that_means_nothing_stops_the_start(tmp_path: Path, default: str) -> None:
    with pytest.raises(CheckpointProblem, match=r"^default_model: "):
        build_app(settings_in(tmp_path, default_model=default, aliases={"ring": "ring"}))


def test_a_checkpoint_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    checkpoints = {"demo": Checkpoint(path=str(tmp_path / "empty"))}
    with pytest.raises(CheckpointProblem, match=r"model_index\.json"):
        build_app(settings_in(tmp_path, checkpoints=checkpoints))


@pytest.mark.parametrize(
    ("default", "order"),
    [
        ("a", ["a", "b", "c"]),
        ("b", ["b", "a", "c"]),
        ("C", ["c", "a", "b"]),
        ("style", ["b", "a", "c"]),
        ("b+ink:0.5", ["b", "a", "c"]),
        ("ink", ["a", "b", "c"]),
    ],
)
def test_the_default_models_checkpoint_is_loaded_first(tmp_path: Path, default: str, order: list[str]) -> None:
    write(tmp_path / "ink.safetensors", lora_file("ink"))
    settings = settings_in(
        tmp_path,
        default_model=default,
        checkpoints=dict.fromkeys("abc", DEMO),
        models={"style": HouseStyle(checkpoint="b")},
    )
    sent = engine_process(settings, opened(settings).admission.names)
    assert list(sent.checkpoints) == order
    assert sent.checkpoints == settings.checkpoints
    assert sent.loras == settings.loras


def test_the_default_model_may_lie_in_the_folder(tmp_path: Path) -> None:
    copy_of_demo(tmp_path / "checkpoints" / "mine")
    folder = CheckpointFolder(directory=tmp_path / "checkpoints")
    settings = settings_in(tmp_path, default_model="MINE", checkpoint_folder=folder)
    built = build_rooms(settings)
    assert [card.id for card in built.intake.library.models() if card.kind == "checkpoint"] == ["demo", "mine"]
    sent = engine_process(settings, opened(settings).admission.names)
    assert (sent.first_in_folder, list(sent.checkpoints)) == ("mine", ["demo"])
    assert sent.checkpoint_folder == folder


@pytest.mark.parametrize(("cap_bytes", "left"), [(0, [0, 1, 2, 3]), (25, [2, 3]), (4 * 2**30, [0, 1, 2, 3])])
async def test_above_the_cap_the_oldest_pictures_go(tmp_path: Path, cap_bytes: int, left: list[int]) -> None:
    built = build_rooms(settings_in(tmp_path, delivery={"max_stored_bytes": cap_bytes}))
    built.persistence.database.open()
    for i in range(4):
        await built.stores.images.put(bytes([i] * 10), "png", tenant="me")
    built.persistence.database.close()
    assert sorted(path.read_bytes()[0] for path in (tmp_path / "data" / "images").iterdir()) == left


def fake_backend(_: EngineProcess, limits: Limits, listener: EngineListener) -> LocalBackend:
    return LocalBackend(open_fake_engine, queue_size=limits.queue_size, listener=listener)


async def test_work_that_breaks_while_the_server_runs_is_begun_again_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    enough = asyncio.Event()

    async def breaking(_: LoraCatalog) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            enough.set()
        raise OSError("no more watches")

    monkeypatch.setattr(LoraCatalog, "watch", breaking)
    monkeypatch.setattr("sdxl_gateway.core.background.FIRST_PAUSE_SECONDS", 0.01)
    built = build_rooms(settings_in(tmp_path), fake_backend)
    async with _running_alone(built), asyncio.timeout(30):
        await enough.wait()
        application = _application(built, partial(_running_alone, built))
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://gw") as http:
            ready, metrics = await http.get("/readyz"), await http.get("/metrics")
    assert (ready.status_code, ready.json()["degraded"]) == (200, ["lora_folder"])
    counted = re.search(r'background_failures_total\{work="lora_folder"\} (\d+)', metrics.text)
    assert counted
    assert int(counted[1]) >= 3


@pytest.mark.parametrize("painting", [True, False])
def test_requests_to_paint_are_logged_and_counted(painting: bool) -> None:
    told, metrics = io.StringIO(), Metrics([], 0)
    configure_logs(Telemetry(), told)
    announce = Listeners(metrics.on_event, log_answer)
    announce(RequestAnswered("place", "m", 400, 0.5, 0, "req_7", "key-1", (), painting, "invalid_json", 99))
    assert ("req_7" in told.getvalue() and "invalid_json" in told.getvalue()) is painting
    assert metrics.registry.get_sample_value("sdxl_gateway_rejected_total", {"reason": "invalid_json"}) == 1
    assert metrics.registry.get_sample_value("sdxl_gateway_response_size_bytes_sum", {"operation": "place"}) == 99
