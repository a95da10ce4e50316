"""Takes an image, gives one of its size in which nothing can be made out."""

from __future__ import annotations

from PIL import Image

CELLS = 12
"""Patches of colour along a picture's longer side, blended into each other: all that is left of it."""


def unrecognisable(image: Image.Image) -> Image.Image:
    """The mean colour of each patch; the content is destroyed, not hidden."""
    scale = CELLS / max(image.size)
    cells = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.convert("RGB").resize(cells, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
