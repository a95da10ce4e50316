"""A store of bytes that all servers of a fleet share, under names that all of them use alike."""

from __future__ import annotations

from typing import Protocol


class Objects(Protocol):
    """Bytes by name; a name is words between slashes. Every method blocks, and raises Unavailable."""

    def put(self, name: str, data: bytes) -> None:
        """Store these bytes, in place of any that are there."""

    def read(self, name: str) -> bytes:
        """The bytes of that name. Raises Gone."""

    def delete_below(self, folder: str) -> None:
        """Delete everything below that first word of its name."""

    def forget_before(self, unix_seconds: float) -> None:
        """Delete what was stored before then, by any server."""
