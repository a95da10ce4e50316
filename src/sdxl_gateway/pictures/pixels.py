"""Takes a Picture, gives it as a Pillow image, and the reverse."""

from __future__ import annotations

from PIL import Image

from sdxl_gateway.core.picture import Picture


def to_image(picture: Picture) -> Image.Image:
    """An image of the same mode, with a copy of the pixels."""
    return Image.frombytes(picture.mode, (picture.width, picture.height), picture.pixels)


def from_image(image: Image.Image) -> Picture:
    """The image's pixels as RGB, or as L for a grey one."""
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    return Picture(image.width, image.height, "L" if image.mode == "L" else "RGB", image.tobytes())
