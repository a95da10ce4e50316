"""What is kept under names that all servers of a fleet say alike, where there is a place that all of them reach."""

from __future__ import annotations

from typing import Protocol


class Objects(Protocol):
    """Bytes by name; a name is words between slashes. Every method blocks, and raises Unavailable."""

    def put(self, name: str, data: bytes) -> None:
        """They are there, in the place of what was."""

    def read(self, name: str) -> bytes:
        """All of them. Raises Gone."""

    def delete_below(self, folder: str) -> None:
        """Nothing is left whose name begins with this word."""

    def forget_before(self, unix_seconds: float) -> None:
        """What was put before is gone, whichever server put it."""
