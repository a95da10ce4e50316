"""Settings read again are in force as a whole, or not at all; whoever asks is never left without an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from pydantic import SecretStr

from sdxl_gateway.config import Auth, ConfigProblem, Engine, Reloading, Server, Settings
from sdxl_gateway.config.reload import PutInForce
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.events import SettingsRead


class Reloads:
    """What comes of reading `written` again, one after another."""

    def __init__(self, *written: Settings | Exception) -> None:
        self.in_force: list[Settings] = []
        self.told: list[bool] = []
        self._written: Iterator[Settings | Exception] = iter(written)
        self._all_told = asyncio.Event()
        self._left = len(written)
        self.reloading = Reloading(Settings(), self._read, self._prepare, self._hear)

    def _read(self) -> Settings:
        found = next(self._written)
        if isinstance(found, Exception):
            raise found
        return found

    def _prepare(self, settings: Settings) -> PutInForce:
        if settings.default_model == "nope":
            raise CheckpointProblem("default_model: no such model")
        return lambda: self.in_force.append(settings)

    def _hear(self, event: SettingsRead) -> None:
        self.told.append(event.in_force)
        self._all_told.set()

    async def run(self) -> None:
        following = asyncio.create_task(self.reloading.following())
        for _ in range(self._left):
            self._all_told.clear()
            self.reloading.ask()
            async with asyncio.timeout(10):
                await self._all_told.wait()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


KEYED = Auth(api_keys=(SecretStr("secret"),))
STRICT = Settings(server=Server(strict=True))


async def test_what_cannot_be_read_or_used_leaves_all_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    bad = Settings(default_model="nope", server=Server(strict=True))
    reloads = Reloads(ConfigProblem("limits.x: no such setting."), bad, STRICT)
    await reloads.run()
    assert reloads.told == [False, False, True]
    assert reloads.in_force == [STRICT]
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [words.rpartition("as they were: ")[2] for words in told] == [
        "limits.x: no such setting.",
        "default_model: no such model",
    ]


async def test_what_waits_for_a_restart_is_told_each_time(caplog: pytest.LogCaptureFixture) -> None:
    waiting = Settings(engine=Engine(dtype="float16"))
    await Reloads(waiting, waiting).run()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["needs a restart: engine.dtype"] * 2


async def test_what_should_be_known_of_new_settings_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    public = Settings(auth=KEYED)
    everybody = Settings(auth=Auth(allow_anonymous=True))
    reloads = Reloads(public, everybody, everybody)
    reloads.reloading._running = Settings(server=Server(host="0.0.0.0"), auth=KEYED)
    await reloads.run()
    assert len([record for record in caplog.records if "auth.allow_anonymous is true" in record.getMessage()]) == 1


async def test_asked_for_while_it_is_read_it_is_read_once_more() -> None:
    reads = 0
    reloading: Reloading

    def read() -> Settings:
        nonlocal reads
        reads += 1
        if reads == 1:
            for _ in range(5):
                loop.call_soon_threadsafe(reloading.ask)
        return Settings()

    heard = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    reloading = Reloading(Settings(), read, lambda _: nothing, lambda _: heard.release())
    following = asyncio.create_task(reloading.following())
    reloading.ask()
    for _ in range(2):
        async with asyncio.timeout(10):
            await heard.acquire()
    await asyncio.sleep(0.05)
    assert reads == 2
    following.cancel()
