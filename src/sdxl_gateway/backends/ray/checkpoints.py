"""What a replica's engine may be given to paint with that is not on its node: checkpoints from elsewhere."""

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
    """Those that a replica's node has from elsewhere."""

    @property
    def stored(self) -> tuple[str, ...]:
        """The manifests of those that lie here now."""

    async def first(self) -> None:
        """Returns once the one is here that the engine is to begin with, wherever it comes from."""

    async def hold(self, manifests: Iterable[str]) -> ExitStack:
        """These are here, and stay until the stack is closed. Raises StillLoading, Unavailable, StorageFull."""

    def close(self) -> None:
        """Nothing is fetched any more."""


class NoneFetched:
    """Of a replica that was given no bucket."""

    stored: tuple[str, ...] = ()

    async def first(self) -> None:
        """As Checkpoints."""

    async def hold(self, manifests: Iterable[str]) -> ExitStack:
        """As Checkpoints; always refused. Raises Unavailable."""
        raise Unavailable(NO_BUCKET)

    def close(self) -> None:
        """As Checkpoints."""


def open_checkpoints(section: S3, config: EngineProcess, tell: Listener) -> Checkpoints:
    """`tell` hears how each fetch ended. Where the node can ask no bucket, those it has itself are painted with."""
    if not section.bucket:
        return NoneFetched()
    try:
        from sdxl_gateway.backends.ray.from_bucket import FromBucket
    except ImportError:
        log.error("s3.bucket: needs the extra at each node: pip install 'sdxl-gateway[s3]'")
        return NoneFetched()
    return FromBucket(section, config, tell)
