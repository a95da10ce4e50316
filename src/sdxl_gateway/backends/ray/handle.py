"""What a gateway asks of a replica's engine, wherever that is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol


class EngineGone(Exception):
    """The replica does not answer any more, or knows this gateway no more: what it was given is lost."""


class EngineHandle(Protocol):
    """One replica. All of it raises EngineGone; `gateway` is a gateway's name for one visit, never used again."""

    async def open(self, gateway: str) -> bytes:
        """Begin a visit; gives what the engine has said of itself so far, as frames.py packs it."""

    async def tell(self, gateway: str, commands: bytes) -> None:
        """Commands, packed, in their order. Returns once they are there."""

    async def poll(self, gateway: str, wait_seconds: float) -> bytes:
        """Reports, packed, since the last time, as soon as there are any; none after a few seconds of silence.

        `wait_seconds` is what this gateway predicts for one that comes now: what the cluster scales by.
        """

    async def lacks(self, digests: Collection[str]) -> Sequence[str]:
        """Those of these files that are not in the replica's store."""

    async def put(self, gateway: str, digest: str, chunk: bytes, last: bool) -> None:
        """The next bytes of a file that it lacks; it is in the store after the last."""

    async def close(self, gateway: str) -> None:
        """End the visit; what it was given ends with it."""


class Replicas(Protocol):
    """Those of a cluster."""

    async def now(self) -> dict[str, EngineHandle]:
        """Those there are now, each by a name of its own."""

    async def close(self) -> None:
        """This gateway leaves; so do the replicas, where it alone had them started."""
