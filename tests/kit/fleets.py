"""Gateways that share their stored jobs, each with a database and an engine of its own; tests call `turn`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.stored_job import JobKey, JobState, StoredJob
from sdxl_gateway.gateway.fleet.jobs import JobFleet
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.shared.job_mirror import JobMirror
from sdxl_gateway.shared.open import ID_FILE, Shared
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.jobs import JobStore
from sdxl_gateway.storage.secret_file import secret_of
from tests.kit.clock import Clock
from tests.kit.gateway import CALLER, ask, gateway_kit
from tests.kit.images import MemoryImages
from tests.kit.redis_server import RedisServer
from tests.kit.sharing import Sharer

LEASE_SECONDS = 15.0


@dataclass
class Member:
    """`ended` are the jobs whose end was recorded here, as webhooks are; the fleet uses `clock`, and `owed` for the
    tenants that a gateway has still to erase."""

    id: str
    tasks: Tasks
    store: JobStore
    mirror: JobMirror
    redis: RedisServer
    database: Database
    shared: Shared
    images: MemoryImages
    clock: Clock = field(default_factory=lambda: Clock(1000.0))
    ended: list[StoredJob] = field(default_factory=list)
    owed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self.fleet = self.tasks.fleet = JobFleet(self.store, self.mirror, self.tasks, self.clock, self.owing)

    async def owing(self, gateway: str) -> Collection[str]:
        """As Owing."""
        return self.owed[gateway]

    async def accept(
        self, prompt: str = "a", images: Sequence[Upload] = (), key: JobKey | None = None, **fields: Any
    ) -> str:
        """Accept a job; its id."""
        job = await self.tasks.submit(ask(prompt, images=tuple(images), **fields), CALLER, key=key)
        return job.id

    async def state(self, job_id: str) -> JobState:
        """The state that this gateway reports."""
        return (await self.tasks.get(job_id, CALLER)).state

    async def here(self, job_id: str) -> bool:
        """Whether the job is in this gateway's database."""
        return await self.store.find(job_id) is not None

    def vanish(self) -> None:
        """Delete its lease, so that the others take it for gone."""
        self.redis.cli("DEL", f"sdxl-gateway:gateway:{self.id}")

    async def wait_a_lease(self) -> None:
        """Let it look at the fleet, and again after the time of a lease."""
        await self.fleet.turn()
        self.clock.now += LEASE_SECONDS
        await self.fleet.turn()


@asynccontextmanager
async def member(redis: RedisServer, folder: Path, **settings: Any) -> AsyncIterator[Member]:
    """A gateway on the state in `folder`; it paints only while its tasks run. `settings` are those of [redis]."""
    async with AsyncExitStack() as stack:
        sections = redis.sections
        section = sections["redis"].model_copy(update={"lease_seconds": LEASE_SECONDS, **settings})
        sharer = await stack.enter_async_context(Sharer.opened(redis, folder, **(sections | {"redis": section})))
        kit = await stack.enter_async_context(gateway_kit(folder / "kit"))
        database = stack.enter_context(opened(folder))
        ended: list[StoredJob] = []
        store = JobStore(database, BlobFolder(folder / "uploads"), on_end=[lambda _, job: ended.append(job)])
        mirror = sharer.shared.jobs
        assert mirror is not None
        tasks = Tasks(kit.tasks._settings, store, kit.gateway, mirror=mirror)
        yield Member(_id_in(folder), tasks, store, mirror, redis, database, sharer.shared, kit.images, ended=ended)


def _id_in(folder: Path) -> str:
    return secret_of(None, folder / ID_FILE).hex()[:16]
