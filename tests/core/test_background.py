"""Work in the background outlives its own failures, tells of them, and ends with the server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from sdxl_gateway.core import background
from sdxl_gateway.core.background import Background
from sdxl_gateway.core.errors import StorageFull
from sdxl_gateway.core.events import WorkFailed

NAME = "lora_folder"


def unheard(_: Any) -> None:
    """Of failures that the test does not ask for."""


async def test_background_work_that_breaks_is_logged_and_takes_nothing_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broke = asyncio.Event()
    told: list[WorkFailed] = []

    async def breaking() -> None:
        broke.set()
        raise OSError("no more watches")

    doing = Background(told.append)
    with caplog.at_level(logging.ERROR, logger="sdxl_gateway.core.background"):
        async with doing.doing(NAME, breaking):
            await broke.wait()
            await asyncio.sleep(0)
            assert doing.ailing == (NAME,)
    assert "no more watches" in caplog.text
    assert told == [WorkFailed(NAME)]


async def test_a_full_disk_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    broke = asyncio.Event()

    async def breaking() -> None:
        broke.set()
        raise StorageFull("The disk is full.")

    async with Background(unheard).doing("usage", breaking):
        await broke.wait()
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == [
        "usage failed and begins again in 1 s; pictures are still painted: The disk is full."
    ]
    assert caplog.records[0].exc_info is None


async def test_background_work_ends_with_the_world() -> None:
    ended = asyncio.Event()

    async def working() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    doing = Background(unheard)
    async with doing.doing(NAME, working):
        await asyncio.sleep(0)
    assert ended.is_set()
    assert doing.ailing == ()


async def test_what_fails_begins_again_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    told: list[WorkFailed] = []
    enough = asyncio.Event()

    async def paused(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            enough.set()
            await asyncio.Event().wait()

    async def breaking() -> None:
        raise ExceptionGroup("several", [OSError("no more watches")])

    monkeypatch.setattr("sdxl_gateway.core.background.asyncio.sleep", paused)
    async with asyncio.timeout(30), Background(told.append).doing(NAME, breaking):
        await enough.wait()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert told == [WorkFailed(NAME)] * 9


async def test_work_that_runs_steadily_again_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    now, times = [1000.0], [0]
    running = asyncio.Event()

    async def once_broken() -> None:
        times[0] += 1
        if times[0] == 1:
            raise OSError("gone")
        running.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", 0.001)
    doing = Background(unheard, lambda: now[0])
    async with asyncio.timeout(30), doing.doing(NAME, once_broken):
        await running.wait()
        assert list(doing.ailing) == [NAME]
        now[0] += background.STEADY_SECONDS + 1
        assert list(doing.ailing) == []


async def test_a_failure_after_long_steady_work_is_the_first_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = [1000.0], list[float]()
    enough = asyncio.Event()

    async def paused(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            enough.set()
            await asyncio.Event().wait()

    async def breaking() -> None:
        now[0] += background.STEADY_SECONDS + 1 if len(pauses) == 3 else 0
        raise OSError("gone")

    monkeypatch.setattr("sdxl_gateway.core.background.asyncio.sleep", paused)
    async with Background(unheard, lambda: now[0]).doing(NAME, breaking):
        await enough.wait()
    assert pauses == [1, 2, 4, 1]
