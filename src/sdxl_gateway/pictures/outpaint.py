"""Takes a decoded upload, extends it at its edges by an area to be painted."""

from __future__ import annotations

from PIL import Image

from sdxl_gateway.core.picture import Padding, Size
from sdxl_gateway.pictures.decode import Decoded


def padded(decoded: Decoded, padding: Padding) -> Decoded:
    """The new area is filled with the colours at the edges and masked for painting; the old mask is kept."""
    size = Size(*decoded.image.size)
    mask = Image.new("L", padding.around(size), 255)
    mask.paste(decoded.mask or Image.new("L", size, 0), (padding.left, padding.top))
    return Decoded(_with_edges_stretched(decoded.image, padding), mask)


def _with_edges_stretched(image: Image.Image, padding: Padding) -> Image.Image:
    """Nine parts: the picture, and its edges and corners stretched over the area beside them."""
    extended = Image.new("RGB", padding.around(Size(*image.size)))
    for left, right, x, width in _spans(padding.left, image.width, padding.right):
        for top, bottom, y, height in _spans(padding.top, image.height, padding.bottom):
            if width and height:
                extended.paste(image.crop((left, top, right, bottom)).resize((width, height)), (x, y))
    return extended


def _spans(before: int, length: int, after: int) -> tuple[tuple[int, int, int, int], ...]:
    """Start and end in the picture, then the position and length it is stretched to."""
    return (0, 1, 0, before), (0, length, before, length), (length - 1, length, before + length, after)
