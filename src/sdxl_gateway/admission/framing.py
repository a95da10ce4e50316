"""Decides what is painted of a decoded upload: the whole, or for a small mask only its surroundings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image

from sdxl_gateway.admission.sizes import Sizes, fill_size
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.core.picture import NO_INPUTS, Box, Inputs, KeptRegion, Picture, Size
from sdxl_gateway.pictures.decode import Decoded, cover
from sdxl_gateway.pictures.pixels import from_image

LEAST_PADDING = 128
"""The default for the pixels around a mask that the model has to see to match them."""
SEAM_SHARE = 128
"""The default for the seam's width: the shorter side divided by this."""


@dataclass(frozen=True, slots=True)
class Framing:
    """The caller's choice of pixels around the mask, and of its seam's width; None leaves it to the server."""

    padding: int | None = None
    seam: int | None = None


@dataclass(frozen=True, slots=True)
class Framed:
    """The pictures to paint from, and their `sizes`; `padding` is None if the whole picture is painted."""

    sizes: Sizes
    inputs: Inputs = NO_INPUTS
    kept: KeptRegion | None = None
    padding: int | None = None


def framed(decoded: Decoded | None, sizes: Sizes, checkpoint: CheckpointEntry, asked: Framing) -> Framed:
    """The pictures at paint size. Only a mask's surroundings are painted if that was requested, or if the whole picture
    would be painted smaller than it is returned.
    """
    if decoded is None:
        return Framed(sizes)
    if decoded.mask is None:
        return Framed(sizes, Inputs({"image": _image_at(sizes.painted, decoded.image)}))
    original = cover(decoded.image, sizes.width, sizes.height, Image.Resampling.LANCZOS)
    mask = cover(decoded.mask, sizes.width, sizes.height, Image.Resampling.NEAREST)
    seam = min(sizes.width, sizes.height) // SEAM_SHARE if asked.seam is None else asked.seam
    kept = KeptRegion(from_image(original), from_image(mask), seam=seam)
    padding = _padding(mask, sizes, asked)
    if padding is None or (hole := mask.getbbox()) is None:
        inputs = {"image": _image_at(sizes.painted, decoded.image), "mask": _mask_at(sizes.painted, decoded.mask)}
        return Framed(sizes, Inputs(inputs), kept)
    around = surroundings(Box.of(hole), padding, original.size)
    painted = fill_size(Size(around.width, around.height), checkpoint)
    box = crop_box(around, Size(*original.size), painted)
    edges = box.left, box.top, box.right, box.bottom
    inputs = {"image": _image_at(painted, original.crop(edges)), "mask": _mask_at(painted, mask.crop(edges))}
    return Framed(sizes.painted_at(painted), Inputs(inputs), replace(kept, box=box), padding)


def _padding(mask: Image.Image, sizes: Sizes, asked: Framing) -> int | None:
    if asked.padding is not None or sizes.paint_width >= sizes.width:
        return asked.padding
    left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
    return max(LEAST_PADDING, (right - left) // 2, (bottom - top) // 2)


def surroundings(hole: Box, padding: int, size: tuple[int, int]) -> Box:
    """The hole and `padding` pixels around it, within a picture of `size`."""
    return Box(
        max(hole.left - padding, 0),
        max(hole.top - padding, 0),
        min(hole.right + padding, size[0]),
        min(hole.bottom + padding, size[1]),
    )


def crop_box(around: Box, size: Size, painted: Size) -> Box:
    """`around`, enlarged within a picture of `size` to the aspect of `painted` as far as there is room.

    Equals diffusers' VaeImageProcessor.get_crop_region.
    """
    aspect = painted.width / painted.height
    if around.width / around.height > aspect:
        top, bottom = _stretched(around.top, around.bottom, around.width / aspect, size.height)
        return replace(around, top=top, bottom=bottom)
    left, right = _stretched(around.left, around.right, around.height * aspect, size.width)
    return replace(around, left=left, right=right)


def _stretched(low: int, high: int, wanted: float, most: int) -> tuple[int, int]:
    """The range, extended on both sides to the `wanted` length, shifted into 0..most, and cut if longer than that."""
    missing = int(wanted - (high - low))
    low, high = low - missing // 2, high + missing - missing // 2
    shift = max(high - most, 0)
    low, high = low - shift, high - shift
    shift = max(-low, 0)
    return low + shift, min(high + shift, most)


def _image_at(size: Size, image: Image.Image) -> Picture:
    return from_image(cover(image, *size, Image.Resampling.LANCZOS))


def _mask_at(size: Size, mask: Image.Image) -> Picture:
    return from_image(cover(mask, *size, Image.Resampling.NEAREST))
