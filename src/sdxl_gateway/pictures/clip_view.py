"""Takes a picture, gives the square of it that a CLIP vision model sees."""

from __future__ import annotations

from PIL import Image, ImageOps

LONGEST = 4
"""The largest ratio of long to short side that is resized; more is cut off first, as it would be afterwards anyhow."""


def clip_view(image: Image.Image, side: int) -> Image.Image:
    """`side` x `side` pixels, as transformers' CLIPImageProcessor: the short side resized, then centre-cropped."""
    image = _not_too_long(image)
    short = min(image.size)
    width, height = (int(side * length / short) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))


def _not_too_long(image: Image.Image) -> Image.Image:
    most = LONGEST * min(image.size)
    if max(image.size) <= most:
        return image
    width, height = (min(length, most) for length in image.size)
    return ImageOps.fit(image, (width, height), method=Image.Resampling.NEAREST)
