"""Replicas without a cluster: their hosts are in this process, and their engines on its threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from sdxl_gateway.backends.fake_engine import MAX_LANES, FakeCanvas, open_fake_engine
from sdxl_gateway.backends.ray.backend import RayBackend
from sdxl_gateway.backends.ray.handle import EngineGone, EngineHandle
from sdxl_gateway.backends.ray.host import EngineHost
from sdxl_gateway.config import S3, CheckpointFolder, Engine, EngineProcess, Loras, Memory
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.ipc.messages import Command, Report, Stop
from sdxl_gateway.jobs.dispatcher import ignore
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.worker.loop import Commands, Loop
from sdxl_gateway.worker.serve import LoadedEngine, by_own_clock

Opening = Callable[[Measure], LoadedEngine[FakeCanvas]]


class ThreadEngine:
    """An engine on a thread, in place of one in a supervised process; `told` are its commands, in order."""

    def __init__(self, opening: Opening, on_report: Callable[[Report], None], on_lost: Callable[[int], None]) -> None:
        self._opening = opening
        self._on_report = on_report
        self._on_lost = on_lost
        self._commands: Commands = SimpleQueue()
        self.told: list[Command] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        commands = self._commands = SimpleQueue()

        def report(said: Report) -> None:
            if commands is self._commands:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._on_report, said)

        def run() -> None:
            opened = self._opening(report)
            report(opened.ready)
            Loop(opened.engine, commands, report, costs=Costs(), max_lanes=MAX_LANES).run()

        Thread(target=run, daemon=True).start()

    async def stop(self, grace_seconds: float) -> None:
        self._commands.put(Stop())

    def send(self, command: Command) -> None:
        self.told.append(command)
        self._commands.put(by_own_clock(command))

    async def end(self) -> None:
        """End it with all its jobs, and start it again."""
        self._commands.put(Stop())
        self._commands = SimpleQueue()
        self._on_lost(0)
        await self.start()


@dataclass
class Replica:
    """A host and its engine. Once `killed`, it answers nothing."""

    host: EngineHost
    engine: ThreadEngine
    killed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, gateway: str) -> bytes:
        self._alive()
        return self.host.open(gateway)

    async def tell(self, gateway: str, commands: bytes) -> None:
        self._alive()
        self.host.tell(gateway, commands)

    async def poll(self, gateway: str, wait_seconds: float) -> bytes:
        asked = asyncio.create_task(self.host.poll(gateway, wait_seconds))
        dead = asyncio.create_task(self.killed.wait())
        await asyncio.wait({asked, dead}, return_when=asyncio.FIRST_COMPLETED)
        dead.cancel()
        self._alive()
        said = await asked
        if said is None:
            raise EngineGone
        return said

    async def lacks(self, digests: Collection[str]) -> Sequence[str]:
        self._alive()
        return await self.host.lacks(digests)

    async def put(self, gateway: str, digest: str, chunk: bytes, last: bool) -> None:
        self._alive()
        await self.host.put(gateway, digest, chunk, last)

    async def close(self, gateway: str) -> None:
        self._alive()
        self.host.close(gateway)

    def _alive(self) -> None:
        if self.killed.is_set():
            raise EngineGone


@dataclass
class FakeCluster:
    """Replicas by name, whose copies of LoRAs are in folders of that name (Replicas).

    They fetch checkpoints from the bucket `shared`; a job that waits for one longer than `patience_seconds` fails.
    """

    folder: Path
    opening: Opening = open_fake_engine
    shared: S3 = field(default_factory=S3)
    patience_seconds: float = 60.0
    all: dict[str, Replica] = field(default_factory=dict)

    async def now(self) -> dict[str, EngineHandle]:
        return {name: one for name, one in self.all.items() if not one.killed.is_set()}

    async def close(self) -> None:
        """Does nothing; the replicas go on."""

    async def add(self, name: str, *, node: str | None = None, first: str | None = None) -> Replica:
        """Add a replica, on a node of its own unless `node` is given; its engine starts with the checkpoint `first`."""
        engines: list[ThreadEngine] = []

        def supervise(
            _: EngineProcess, on_report: Callable[[Report], None], on_lost: Callable[[int], None]
        ) -> ThreadEngine:
            engines.append(ThreadEngine(self.opening, on_report, on_lost))
            return engines[0]

        config = EngineProcess(
            data_directory=self.folder / (node or name),
            engine=Engine(load_wait_seconds=self.patience_seconds),
            memory=Memory(),
            checkpoints={},
            checkpoint_folder=CheckpointFolder(directory=self.folder / "checkpoints"),
            first_in_folder=first,
            loras=Loras(),
        )
        host = EngineHost(config, supervise, self.shared)
        await host.start()
        self.all[name] = Replica(host, engines[0])
        return self.all[name]


@asynccontextmanager
async def cluster_of(
    folder: Path, *names: str, opening: Opening = open_fake_engine, **settings: Any
) -> AsyncIterator[FakeCluster]:
    """A cluster with these replicas."""
    cluster = FakeCluster(folder, opening, **settings)
    for name in names:
        await cluster.add(name)
    try:
        yield cluster
    finally:
        for one in cluster.all.values():
            await one.host.stop(0.0)


@asynccontextmanager
async def gateway_of(
    cluster: FakeCluster, listener: EngineListener = ignore, *, queue_size: int = 64
) -> AsyncIterator[RayBackend]:
    """A gateway of that cluster, started."""
    backend = RayBackend(cluster, cluster.folder / "gateway", queue_size=queue_size, listener=listener)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()
