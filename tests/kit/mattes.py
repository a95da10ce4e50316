"""A matte without a model."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.picture import Picture


@dataclass
class PartMatte:
    """A core Matte whose subject is a picture's left part: `share` of its width, by default all."""

    digest: str = "d" * 64
    share: float = 1.0
    replaced: bool = False

    async def alpha(self, picture: Picture) -> Picture:
        there = round(picture.width * self.share)
        row = b"\xff" * there + bytes(picture.width - there)
        return Picture(picture.width, picture.height, "L", row * picture.height)
