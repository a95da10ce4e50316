"""Provides a replica's engine with checkpoints that are not on its node."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Protocol

from sdxl_gateway.config import S3, EngineProcess
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.listeners import Listener

log = logging.getLogger(__name__)

NO_BUCKET = "The engine cannot fetch the checkpoint: it knows of no bucket."


class Checkpoints(Protocol):
    """The fetched checkpoints of a replica's node."""

    @property
    def stored(self) -> tuple[str, ...]:
        """The manifests of those that are on the node now."""

    async def first(self) -> None:
        """Wait until the engine's first checkpoint is there, from wherever it comes."""

    async def hold(self, manifests: Iterable[str]) -> ExitStack:
        """Fetch these, and keep them until the stack is closed. Raises StillLoading, Unavailable, StorageFull."""

    def close(self) -> None:
        """Stop fetching."""


class NoneFetched:
    """The Checkpoints of a replica without a bucket."""

    stored: tuple[str, ...] = ()

    async def first(self) -> None:
        """As Checkpoints."""

    async def hold(self, manifests: Iterable[str]) -> ExitStack:
        """As Checkpoints; always refused. Raises Unavailable."""
        raise Unavailable(NO_BUCKET)

    def close(self) -> None:
        """As Checkpoints."""


def open_checkpoints(section: S3, config: EngineProcess, tell: Listener) -> Checkpoints:
    """`tell` is given a CheckpointFetched after each fetch. Without a bucket only the node's own can be used."""
    if not section.bucket:
        return NoneFetched()
    try:
        from sdxl_gateway.backends.ray.from_bucket import FromBucket
    except ImportError:
        log.error("s3.bucket: needs the extra at each node: pip install 'sdxl-gateway[s3]'")
        return NoneFetched()
    return FromBucket(section, config, tell)
