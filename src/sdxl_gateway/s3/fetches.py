"""Takes manifests, has their checkpoints here: each is fetched from the bucket once, one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Literal, Protocol

from sdxl_gateway.core.errors import CheckpointProblem, Gone, StillLoading, StorageFull, Unavailable
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.outside import CheckpointFetched
from sdxl_gateway.s3.checkpoint_store import CheckpointStore
from sdxl_gateway.s3.manifest import Manifest
from sdxl_gateway.s3.mirror import MISSING

RETRY_SECONDS = 5.0
LIES = "The checkpoint in the bucket is not the one that was put there."
_FAILED: Literal["fetched", "refused", "failed"] = "failed"


class Manifests(Protocol):
    """What is to be fetched, by the sha256 of its manifest. All of it may block."""

    @property
    def digests(self) -> Mapping[str, str]:
        """The manifest that each name leads to by now. Raises Unavailable."""

    def manifest(self, digest: str) -> Manifest:
        """Raises CheckpointProblem for what is not to be had, Gone, Unavailable."""

    def refuse(self, digest: str, why: str) -> None:
        """What came by it is not what it says."""


class Fetches:
    """Who waits for a checkpoint longer than `patience_seconds` gets StillLoading; the fetch goes on for the next."""

    def __init__(
        self, store: CheckpointStore, manifests: Manifests, patience_seconds: float, listener: Listener
    ) -> None:
        self.store = store
        self._manifests = manifests
        self._patience_seconds = patience_seconds
        self._listener = listener
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def close(self) -> None:
        """Nothing is fetched any more."""
        self.store.close()

    async def hold(self, digests: Iterable[str]) -> ExitStack:
        """The checkpoints of these manifests are here, and stay until the stack is closed.

        Raises StillLoading, Unavailable, StorageFull.
        """
        with ExitStack() as held:
            for digest in digests:
                await self._near(digest)
                held.callback(self.store.let_go, digest)
            return held.pop_all()

    async def keep(self, digest: str) -> bool:
        """It is here for good. False where that is not so yet, or not to be had; it may be asked for again later."""
        try:
            await self._near(digest)
        except (Unavailable, StorageFull):
            await asyncio.sleep(RETRY_SECONDS)
            return False
        return True

    async def _near(self, digest: str) -> None:
        while not self.store.hold(digest):
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
            began, ended, why = time.monotonic(), _FAILED, ""
            try:
                await asyncio.to_thread(self._bring, digest)
                ended = "fetched"
            except (CheckpointProblem, Gone) as problem:
                ended, why = "refused", MISSING if isinstance(problem, Gone) else str(problem)
                await asyncio.to_thread(self._manifests.refuse, digest, why)
                raise Unavailable(LIES) from problem
            except OSError as problem:
                raise StorageFull("The server's disk cannot take the checkpoint.") from problem
            finally:
                self._listener(CheckpointFetched(ended, time.monotonic() - began, digest, why))

    def _bring(self, digest: str) -> None:
        """In a thread; what was withdrawn meanwhile makes room."""
        self.store.keep_only(self._manifests.digests.values())
        self.store.fetch(digest, self._manifests.manifest(digest))
