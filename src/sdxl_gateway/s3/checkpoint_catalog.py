"""Checkpoints that several servers share through a bucket, besides a server's own; all know them within seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoint_folder.scan import Problem, Seen
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.config import Settings
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.events import Event
from sdxl_gateway.core.outside import CheckpointFetched, CheckpointsStored
from sdxl_gateway.core.recipe import Phase
from sdxl_gateway.s3.checkpoint_mirror import PLACE, CheckpointMirror
from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry
from sdxl_gateway.s3.checkpoint_store import CheckpointStore

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0


class SharedCheckpointCatalog(CheckpointCatalog):
    """As CheckpointCatalog; the folder's checkpoints, then those of the bucket, of which there may only be shells here.

    The server's own checkpoints take precedence over shared ones of the same name.
    """

    def __init__(
        self, registry: CheckpointRegistry, settings: Settings, configured: Mapping[str, CheckpointEntry]
    ) -> None:
        super().__init__(configured, settings.checkpoint_folder)
        self._watches_folder = settings.checkpoint_folder.watch
        self.mirror = CheckpointMirror(registry, settings.data_directory, settings.s3.checkpoint_bytes)
        self.store = CheckpointStore(registry, settings.data_directory, settings.s3.checkpoint_bytes)
        self._shared: Mapping[tuple[str, str], str] = {}
        self._afar: dict[str, frozenset[str]] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The folder's problems, and those of checkpoints that could not be synchronized."""
        taken = (Problem(name, told, PLACE.format(name)) for name, told in self.mirror.problems.items())
        return (*super().problems, *taken)

    def manifest_of(self, name: str, digest: str) -> str | None:
        """The sha256 of the manifest by which that checkpoint can be fetched; None for one of this server."""
        return self._shared.get((name, digest))

    def manifest_named(self, name: str) -> str | None:
        """As `manifest_of`, by the checkpoint's name; None also if there is none."""
        entry = self.get(name)
        return None if entry is None else self.manifest_of(name, entry.digest)

    def manifests(self, phases: Iterable[Phase]) -> tuple[str, ...]:
        """The manifests of the checkpoints that take these steps, if they are shared ones."""
        found = (self.manifest_of(phase.checkpoint, phase.checkpoint_digest) for phase in phases)
        return tuple(dict.fromkeys(digest for digest in found if digest is not None))

    def hear(self, event: Event) -> None:
        """Note which checkpoints engines have that fetch them themselves."""
        match event:
            case CheckpointsStored(engine_id=engine_id, manifests=manifests):
                self._afar[engine_id] = frozenset(manifests)
            case CheckpointFetched(outcome="refused", manifest=digest, why=why):
                self.mirror.refuse(digest, why)
            case _:
                pass

    def is_here(self, entry: CheckpointEntry) -> bool:
        """As CheckpointCatalog, or whether an engine that fetches for itself has it."""
        digest = self.manifest_of(entry.name, entry.digest)
        return digest is None or self.store.has(digest) or any(digest in stored for stored in self._afar.values())

    def scan(self) -> None:
        """As CheckpointCatalog; while the bucket does not answer, its earlier checkpoints are known."""
        with suppress(Unavailable):
            self.mirror.follow()
        super().scan()

    async def watch(self, on_change: Callable[[], Awaitable[None]]) -> None:
        """Watch the folder, if that is configured, and the bucket."""
        async with asyncio.TaskGroup() as group:
            if self._watches_folder:
                group.create_task(super().watch(on_change))
            group.create_task(self._following(on_change))

    async def _following(self, on_change: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if await self.look():
                await on_change()

    async def look(self) -> bool:
        """Synchronize with the bucket; whether the checkpoints have changed."""
        try:
            return await asyncio.to_thread(self.mirror.follow) and await self.refresh()
        except Unavailable:
            log.debug("the shared checkpoints are looked at again later")
            return False

    def _look(self) -> dict[str, Seen]:
        return {**super()._look(), **self.mirror.seen(self._seen)}

    def _publish(self, seen: Mapping[str, Seen]) -> None:
        super()._publish(seen)
        shells = (one.entry for place, one in seen.items() if place.startswith(PLACE.format("")) and one.entry)
        served = (entry for entry in shells if self[entry.name].path == entry.path)
        self._shared = {(entry.name, entry.digest): self.mirror.digest_at(entry.path) for entry in served}
