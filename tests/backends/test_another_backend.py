"""A backend that is defined outside the product, and answers from memory, serves the application as it is built."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette

from sdxl_gateway.app import build_app, open_gateway
from sdxl_gateway.config import EngineProcess, Limits, Loras, Settings
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.events import Finished, JobEvent, Measured, MemoryHeld, Painted, Progressed, Started
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.gateway.events import Presented

# Building the application sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")


class Remembered:
    """The events of a job that was painted once and for all."""

    position = 0

    def __init__(self, *events: JobEvent) -> None:
        self._events = list(reversed(events))

    def __aiter__(self) -> AsyncIterator[JobEvent]:
        return self

    async def __anext__(self) -> JobEvent:
        if not self._events:
            raise StopAsyncIteration
        return self._events.pop()

    async def aclose(self) -> None:
        self._events.clear()

    def detach(self) -> None:
        """Nothing is left to go on with."""


@dataclass
class MemoryBackend:
    """Answers every job with one remembered colour; it has no engine, and yet one that measures."""

    listener: EngineListener
    checkpoints: tuple[str, ...]
    ready: bool = False
    waiting: int = 3
    running: int = 0
    wait_seconds: float = 0.0
    closed_reason: str | None = None
    jobs: list[Job] = field(default_factory=list)

    async def start(self) -> None:
        self.ready = True

    async def stop(self, grace_seconds: float) -> None:
        self.drain("over")
        self.ready = False

    def drain(self, reason: str) -> None:
        self.closed_reason = reason

    async def submit(self, job: Job) -> Remembered:
        if self.closed_reason is not None:
            raise Unavailable(self.closed_reason)
        self.jobs.append(job)
        self.listener(Measured("memory", MemoryHeld({"host": 12}, {"host": job.recipe.blend.digests})))
        size = job.recipe.paint_width, job.recipe.paint_height
        picture = Picture(*size, "RGB", bytes((9, 99, 199)) * (size[0] * size[1]))
        return Remembered(
            Started(job.id, 0.0),
            Progressed(job.id, 0, 1, 1),
            Painted(job.id, 0, job.recipe.seed, picture),
            Finished(job.id, 0.5),
        )

    def cancel(self, job_id: str) -> None:
        """Every job is over at once."""


@dataclass
class Factory:
    """Remembers the backend it made."""

    made: list[MemoryBackend] = field(default_factory=list)

    def __call__(self, engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
        self.made.append(MemoryBackend(listener, tuple(engine.checkpoints)))
        return self.made[-1]


def settings_in(folder: Path) -> Settings:
    return Settings(data_directory=folder / "data", loras=Loras(directory=folder))


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gw") as http,
    ):
        yield http


async def test_it_serves_the_whole_application(tmp_path: Path) -> None:
    factory = Factory()
    async with serving(build_app(settings_in(tmp_path), factory)) as http:
        ready = await http.get("/readyz")
        answer = await http.post("/v1/images/generations", json={"prompt": "a fox", "seed": 4, "user": "ann"})
        metrics = (await http.get("/metrics")).text
    (backend,) = factory.made
    assert ready.status_code == 200
    assert backend.checkpoints == ("demo",)
    (entry,) = answer.json()["data"]
    image = Image.open(io.BytesIO(base64.b64decode(entry["b64_json"])))
    assert (image.size, image.getpixel((0, 0)), entry["seed"]) == ((256, 256), (9, 99, 199), 4)
    assert [one.recipe.prompt for one in backend.jobs] == ["a fox"]
    assert "sdxl_gateway_queue_depth 3.0" in metrics
    assert 'sdxl_gateway_memory_held_bytes{engine="memory",tier="host"} 12.0' in metrics
    assert 'sdxl_gateway_jobs_total{outcome="finished"} 1.0' in metrics
    assert (backend.ready, backend.closed_reason) == (False, "over")


async def test_a_backend_that_is_closing_turns_away(tmp_path: Path) -> None:
    factory = Factory()
    async with serving(build_app(settings_in(tmp_path), factory)) as http:
        factory.made[0].drain("Back in a minute.")
        answer = await http.post("/v1/images/generations", json={"prompt": "a fox"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "Back in a minute.")


async def test_it_paints_without_http_too(tmp_path: Path) -> None:
    async with open_gateway(settings_in(tmp_path), Factory()) as gateway:
        items = [item async for item in gateway.paint(Ask(Operation.GENERATE, "a fox"), Caller())]
    assert any(isinstance(item, Presented) for item in items)
