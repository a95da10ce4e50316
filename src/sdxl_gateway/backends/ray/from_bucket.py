"""Fetches checkpoints from the bucket that gateways share to this node, for a replica's engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress

from sdxl_gateway.catalog.checkpoint_folder.scan import open_named
from sdxl_gateway.config import S3, EngineProcess
from sdxl_gateway.core.errors import CheckpointProblem, ModelNotFound, Unavailable
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.s3 import fetches
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry
from sdxl_gateway.s3.checkpoint_store import CheckpointStore
from sdxl_gateway.s3.manifest import Manifest

log = logging.getLogger(__name__)


class InBucket:
    """The bucket's manifests; one whose files did not match it stays refused (s3's Manifests)."""

    def __init__(self, registry: CheckpointRegistry) -> None:
        self._registry = registry
        self._refused: dict[str, str] = {}

    @property
    def digests(self) -> Mapping[str, str]:
        """As Manifests."""
        return self._registry.names()

    def manifest(self, digest: str) -> Manifest:
        """As Manifests."""
        if digest in self._refused:
            raise CheckpointProblem(self._refused[digest])
        return self._registry.manifest(digest)

    def refuse(self, digest: str, why: str) -> None:
        """As Manifests."""
        self._refused[digest] = why


class FromBucket:
    """The Checkpoints of a bucket, in the node's directory; `tell` is given a CheckpointFetched after each fetch."""

    def __init__(self, section: S3, config: EngineProcess, tell: Listener) -> None:
        registry = CheckpointRegistry(Bucket(section))
        self._config = config
        self._manifests = InBucket(registry)
        store = CheckpointStore(registry, config.data_directory, section.checkpoint_bytes)
        self._fetches = fetches.Fetches(store, self._manifests, config.engine.load_wait_seconds, tell)

    @property
    def stored(self) -> tuple[str, ...]:
        """As Checkpoints."""
        return self._fetches.store.whole()

    async def first(self) -> None:
        """As Checkpoints: from the settings, the folder or the bucket, in this order."""
        name = self._config.first_in_folder
        while name is not None and not self._is_own(name) and not await self._has(name):
            pass

    async def hold(self, manifests: Iterable[str]) -> ExitStack:
        """As Checkpoints."""
        return await self._fetches.hold(manifests)

    def close(self) -> None:
        """As Checkpoints."""
        self._fetches.close()

    def _is_own(self, name: str) -> bool:
        with suppress(ModelNotFound, CheckpointProblem):
            open_named(self._config.checkpoint_folder.directory, name)
            return True
        return False

    async def _has(self, name: str) -> bool:
        """Whether it was fetched; also true if the bucket has no checkpoint of that name."""
        try:
            digest = (await asyncio.to_thread(lambda: self._manifests.digests)).get(name)
        except Unavailable:
            log.warning("the bucket does not tell its checkpoints; the engine waits for the first")
            await asyncio.sleep(fetches.RETRY_SECONDS)
            return False
        return digest is None or await self._fetches.keep(digest)
