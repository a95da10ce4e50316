"""Takes a picture, gives the map that a ControlNet follows: edges, lines, greys, or the picture without its details."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PIL import Image, ImageFilter, ImageOps

from sdxl_gateway.core.recipe import Preprocessor

BLUR_SHARE = 1 / 56
"""The blur's radius as a share of the shorter side: 9 pixels of 512, as blur ControlNets were trained with."""
TILE_SHARE = 1 / 4
"""The scale to which a picture is reduced, to lose its details, before it is enlarged again."""


def preprocess(image: Image.Image, name: Preprocessor) -> Image.Image:
    """The map, "RGB" or "L", of the image's size."""
    return PREPROCESSORS[name](image)


def _canny(image: Image.Image) -> Image.Image:
    # Importing numpy takes 16 MB and 0.1 s, so it is done only when edges are requested.
    from sdxl_gateway.pictures.canny import canny

    return canny(image)


def _line(image: Image.Image) -> Image.Image:
    """Light lines on black, from dark lines on light paper."""
    return ImageOps.invert(image.convert("L"))


def _gray(image: Image.Image) -> Image.Image:
    return image.convert("L")


def _blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(min(image.size) * BLUR_SHARE))


def _tile(image: Image.Image) -> Image.Image:
    small = image.resize([max(1, round(side * TILE_SHARE)) for side in image.size], Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


PREPROCESSORS: Mapping[Preprocessor, Callable[[Image.Image], Image.Image]] = {
    "canny": _canny,
    "line": _line,
    "gray": _gray,
    "blur": _blur,
    "tile": _tile,
}
