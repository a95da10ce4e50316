"""The port through which gateways ask each other to delete pictures; knows nothing of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class PictureMirror(Protocol):
    """Brings the request to delete a picture to whichever gateway keeps it.

    Every method raises Unavailable while the shared state cannot be reached.
    """

    async def ask_to_delete(self, image_id: str, tenant: str) -> None:
        """Ask all gateways; the one that keeps the picture deletes it."""
        ...

    async def to_delete(self) -> Sequence[tuple[str, str]]:
        """The pictures to be deleted since the last call, each with its tenant; at first, all that are known."""
        ...
