"""Fetches checkpoints from the bucket by their manifests: each once, one at a time."""

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
    """The manifests of checkpoints that can be fetched, by their sha256. All methods may block."""

    @property
    def digests(self) -> Mapping[str, str]:
        """The current manifest of each name. Raises Unavailable."""

    def manifest(self, digest: str) -> Manifest:
        """The manifest of that sha256. Raises CheckpointProblem if it is invalid or was refused, Gone, Unavailable."""

    def refuse(self, digest: str, why: str) -> None:
        """Note that the files did not match the manifest."""


class Fetches:
    """A caller who waits longer than `patience_seconds` gets StillLoading; the fetch continues for later ones."""

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
        """Stop fetching."""
        self.store.close()

    async def hold(self, digests: Iterable[str]) -> ExitStack:
        """Fetch the checkpoints of these manifests, and keep them until the stack is closed.

        Raises StillLoading, Unavailable, StorageFull.
        """
        with ExitStack() as held:
            for digest in digests:
                await self._near(digest)
                held.callback(self.store.let_go, digest)
            return held.pop_all()

    async def keep(self, digest: str) -> bool:
        """Fetch it, and keep it for good. False if that failed or takes too long; call again then."""
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
        fetch.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting for it
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
        """Fetch it, in a thread; checkpoints that were withdrawn are removed first to make room."""
        self.store.keep_only(self._manifests.digests.values())
        self.store.fetch(digest, self._manifests.manifest(digest))
