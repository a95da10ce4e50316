"""Takes a recipe's checkpoints, has those here that lie in the bucket alone: each is fetched once, one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Literal

from sdxl_gateway.core.errors import CheckpointProblem, Gone, StillLoading, StorageFull, Unavailable
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.outside import CheckpointFetched
from sdxl_gateway.core.recipe import Phase
from sdxl_gateway.s3.checkpoint_catalog import SharedCheckpointCatalog
from sdxl_gateway.s3.mirror import MISSING

RETRY_SECONDS = 5.0
_FAILED: Literal["fetched", "refused", "failed"] = "failed"


class Fetches:
    """Who waits for a checkpoint longer than `patience_seconds` gets StillLoading; the fetch goes on for the next."""

    def __init__(self, catalog: SharedCheckpointCatalog, patience_seconds: float, listener: Listener) -> None:
        self._catalog = catalog
        self._patience_seconds = patience_seconds
        self._listener = listener
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def close(self) -> None:
        """Nothing is fetched any more."""
        self._catalog.store.close()

    async def hold(self, phases: Iterable[Phase]) -> ExitStack:
        """The checkpoints of these phases are here, and stay until the stack is closed.

        Raises StillLoading, Unavailable, StorageFull.
        """
        with ExitStack() as held:
            for phase in phases:
                digest = self._catalog.manifest_of(phase.checkpoint, phase.checkpoint_digest)
                if digest is not None:
                    await self._near(digest)
                    held.callback(self._catalog.store.let_go, digest)
            return held.pop_all()

    async def keep(self, name: str) -> None:
        """The checkpoint of that name is here for good, however long that takes; it may be one of this server's own."""
        while (digest := self._manifest_of(name)) is not None:
            try:
                await self._near(digest)
                return
            except (Unavailable, StorageFull):
                await asyncio.sleep(RETRY_SECONDS)

    def is_own(self, name: str) -> bool:
        """The checkpoint of that name is this server's, and never fetched."""
        return self._manifest_of(name) is None

    def _manifest_of(self, name: str) -> str | None:
        entry = self._catalog.get(name)
        return None if entry is None else self._catalog.manifest_of(name, entry.digest)

    async def _near(self, digest: str) -> None:
        while not self._catalog.store.hold(digest):
            await self._fetched(digest)

    async def _fetched(self, digest: str) -> None:
        fetch = self._under_way.get(digest) or self._begin(digest)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await asyncio.shield(fetch)
        except TimeoutError:
            raise StillLoading(waited_seconds=self._patience_seconds) from None

    def _begin(self, digest: str) -> asyncio.Task[None]:
        fetch = self._under_way[digest] = asyncio.create_task(self._fetch(digest))
        fetch.add_done_callback(lambda _: self._under_way.pop(digest))
        fetch.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear of it
        return fetch

    async def _fetch(self, digest: str) -> None:
        async with self._turn:
            began, ended = time.monotonic(), _FAILED
            try:
                await asyncio.to_thread(self._bring, digest)
                ended = "fetched"
            except (CheckpointProblem, Gone) as problem:
                ended, why = "refused", MISSING if isinstance(problem, Gone) else str(problem)
                await asyncio.to_thread(self._catalog.mirror.refuse, digest, why)
                raise Unavailable("The checkpoint in the bucket is not the one that was put there.") from problem
            except OSError as problem:
                raise StorageFull("The server's disk cannot take the checkpoint.") from problem
            finally:
                self._listener(CheckpointFetched(ended, time.monotonic() - began))

    def _bring(self, digest: str) -> None:
        """In a thread; what was withdrawn meanwhile makes room."""
        mirror, store = self._catalog.mirror, self._catalog.store
        store.keep_only(mirror.digests.values())
        store.fetch(digest, mirror.manifest(digest))
