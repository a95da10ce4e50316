"""The port through which a gateway calls a replica's engine, wherever that is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol


class EngineGone(Exception):
    """The replica does not answer any more, or has ended this gateway's visit: the jobs given to it are lost."""


class EngineHandle(Protocol):
    """One replica. Every method raises EngineGone; `gateway` is a name for one visit, which is never used again."""

    async def open(self, gateway: str) -> bytes:
        """Begin a visit; the engine's state so far as messages, packed by frames.py."""

    async def tell(self, gateway: str, commands: bytes) -> None:
        """Send packed commands, in order. Returns once they have arrived."""

    async def poll(self, gateway: str, wait_seconds: float) -> bytes:
        """Packed reports since the last call, as soon as there are any; empty after a few seconds without one.

        `wait_seconds` is this gateway's prediction for a job that is submitted now, by which the cluster scales.
        """

    async def lacks(self, digests: Collection[str]) -> Sequence[str]:
        """Those of these files that are not in the replica's store."""

    async def put(self, gateway: str, digest: str, chunk: bytes, last: bool) -> None:
        """Send the next bytes of a missing file; after the last it is in the store."""

    async def close(self, gateway: str) -> None:
        """End the visit, and the jobs that were given in it."""


class Replicas(Protocol):
    """The replicas of a cluster."""

    async def now(self) -> dict[str, EngineHandle]:
        """The current replicas, each by a unique name."""

    async def close(self) -> None:
        """Disconnect this gateway; replicas end too if they are in a cluster that it started itself."""
