"""What a gateway is asked of pictures that others keep, and is told; knows nothing of redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class PictureMirror(Protocol):
    """Carries wishes to delete a picture to whichever gateway keeps it. Everything raises Unavailable while it cannot
    be."""

    async def ask_to_delete(self, image_id: str, tenant: str) -> None:
        """Tell all of them."""
        ...

    async def to_delete(self) -> Sequence[tuple[str, str]]:
        """What anybody asked to be deleted since this was asked last, each with its tenant; at first, all there is."""
        ...
