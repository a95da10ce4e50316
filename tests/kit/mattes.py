"""A matte that needs no model."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.picture import Picture


@dataclass
class PartMatte:
    """A core Matte to which a picture's left part is the subject: `share` of it, all unless said otherwise."""

    digest: str = "d" * 64
    share: float = 1.0
    replaced: bool = False

    async def alpha(self, picture: Picture) -> Picture:
        there = round(picture.width * self.share)
        row = b"\xff" * there + bytes(picture.width - there)
        return Picture(picture.width, picture.height, "L", row * picture.height)
