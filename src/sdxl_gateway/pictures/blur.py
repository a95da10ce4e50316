"""Takes an image, gives one of its size in which nothing can be made out."""

from __future__ import annotations

from PIL import Image

CELLS = 12
"""Of a picture's longer side: what is left of it are as many patches of colour, led over into each other."""


def unrecognisable(image: Image.Image) -> Image.Image:
    """Its mean colours, patch by patch; what was in it is gone, not hidden."""
    scale = CELLS / max(image.size)
    cells = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.convert("RGB").resize(cells, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
