"""Lets a dispatcher use a replica's engine like one of this machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from secrets import token_hex

from sdxl_gateway.backends.ray.frames import pack, unpack
from sdxl_gateway.backends.ray.handle import EngineGone, EngineHandle
from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.ipc.messages import Cancel, Command, Hello, Report, Stop, Submit

log = logging.getLogger(__name__)

CHUNK_BYTES = 8 * 2**20
OPEN_SECONDS = 120.0
"""The replica's actor may exist before it has started."""
ANSWER_SECONDS = 15.0
"""A replica answers a poll within five seconds; one that takes longer than this is lost."""


class RemoteEngine:
    """One replica's engine, for one visit. Every method raises EngineGone once the replica is gone.

    Files of LoRAs and embeddings that a job needs are uploaded first, from the copies in `data_directory`.
    `wait_seconds` is this gateway's prediction for a job that is submitted now.
    """

    def __init__(self, handle: EngineHandle, data_directory: Path, wait_seconds: Callable[[], float]) -> None:
        self._handle = handle
        self._data_directory = data_directory
        self._wait_seconds = wait_seconds
        self._gateway = token_hex(8)
        self._unsent: asyncio.Queue[tuple[bytes, frozenset[str]]] = asyncio.Queue()

    def send(self, command: Command) -> None:
        """Queue a command; they are sent in the order of the calls. Raises FrameTooLarge."""
        needs = command.job.recipe.digests if isinstance(command, Submit) else frozenset()
        self._unsent.put_nowait((pack(command), needs))

    async def open(self) -> bytes:
        """Begin the visit; the engine's state so far, as packed messages."""
        async with _in_time(OPEN_SECONDS):
            return await self._handle.open(self._gateway)

    async def follow(self, said: bytes, on_report: Callable[[Report], None]) -> None:
        """Send and receive until the replica is gone; `on_report` gets the messages in `said` and all later ones."""
        sending = asyncio.create_task(self._sending())
        listening = asyncio.create_task(self._listening(said, on_report))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
            for task in (sending, listening):
                if task.done():
                    task.result()
        finally:
            sending.cancel()
            listening.cancel()

    async def leave(self) -> None:
        """End the visit; the replica drops the jobs it was given."""
        with suppress(EngineGone):
            async with _in_time():
                await self._handle.close(self._gateway)

    async def _listening(self, said: bytes, on_report: Callable[[Report], None]) -> None:
        while True:
            for report in _reports(said):
                on_report(report)
            async with _in_time():
                said = await self._handle.poll(self._gateway, self._wait_seconds())

    async def _sending(self) -> None:
        while True:
            waiting = [await self._unsent.get()]
            while not self._unsent.empty():
                waiting.append(self._unsent.get_nowait())
            await self._bring(frozenset().union(*(needs for _, needs in waiting)))
            await self._handle.tell(self._gateway, b"".join(command for command, _ in waiting))

    async def _bring(self, digests: frozenset[str]) -> None:
        """Upload the missing files; one that is gone here too is left for the engine to report."""
        for digest in await self._handle.lacks(sorted(digests)) if digests else ():
            with suppress(FileNotFoundError, AdapterRefused):
                await self._bring_one(digest)

    async def _bring_one(self, digest: str) -> None:
        path, sent = store_path(self._data_directory, digest), 0
        size = (await asyncio.to_thread(path.stat)).st_size
        with await asyncio.to_thread(path.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                sent += len(chunk)
                await self._handle.put(self._gateway, digest, chunk, sent >= size)


@asynccontextmanager
async def _in_time(seconds: float = ANSWER_SECONDS) -> AsyncIterator[None]:
    """Raises EngineGone after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise EngineGone from None


def _reports(said: bytes) -> Iterator[Report]:
    try:
        for message in unpack(said):
            if isinstance(message, Hello | Submit | Cancel | Stop):
                raise Malformed("a command")
            yield message
    except Malformed as problem:
        log.exception("a replica said something malformed")
        raise EngineGone from problem
