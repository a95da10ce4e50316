"""Takes uploaded pictures, gives pixels: decoded under strict limits, turned upright, cut to the asked size."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import GatewayError, InvalidImage
from sdxl_gateway.core.picture import Mode, Picture

FORMATS = ("PNG", "JPEG", "WEBP")
OPAQUE = 128
"""Alpha below this is repainted: OpenAI promises only the two ends."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upload as RGB; `mask` ("L", 255 = repaint) when one was sent or the picture itself has holes."""

    image: Image.Image
    mask: Image.Image | None


def decode(image: Upload, mask: Upload | None, limits: Limits) -> Decoded:
    """Both decoded and checked against each other. Raises InvalidImage naming the field."""
    opened = _upright(image, limits)
    rgb = _rgb(opened)
    if mask is not None:
        return Decoded(rgb, _mask_of(_upright(mask, limits), rgb.size, mask.field))
    holes = _holes(opened)
    return Decoded(rgb, holes if holes is not None and holes.getbbox() else None)


def _upright(upload: Upload, limits: Limits) -> Image.Image:
    with _plain_refusals(upload.field):
        image = Image.open(io.BytesIO(upload.data), formats=FORMATS)
        if image.width * image.height > limits.max_input_pixels:
            raise InvalidImage(
                f"Invalid image for '{upload.field}': more than {limits.max_input_pixels} pixels.",
                param=upload.field,
                code="image_too_large",
            )
        image.load()
        return ImageOps.exif_transpose(image)


@contextmanager
def _plain_refusals(field: str) -> Iterator[None]:
    """Whatever a decoder says becomes one plain sentence: its own words carry addresses and paths."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except GatewayError:
        raise
    except Exception as error:
        raise InvalidImage(f"Invalid image file for '{field}': it cannot be decoded.", param=field) from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.point(lambda value: value / 256).convert("L")
    return image.convert("RGB")


def _holes(image: Image.Image) -> Image.Image | None:
    """255 where the picture is transparent; None when it has no alpha."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return alpha.point([255 if value < OPAQUE else 0 for value in range(256)])


def _mask_of(mask: Image.Image, size: tuple[int, int], field: str) -> Image.Image:
    if mask.size != size:
        raise InvalidImage("Invalid mask image format - mask size does not match image size.", param=field)
    holes = _holes(mask)
    if holes is None:
        raise InvalidImage("Invalid mask image format - mask image missing alpha channel.", param=field)
    if not holes.getbbox():
        raise InvalidImage("The mask has no transparent pixels, so there is nothing to paint.", param=field)
    return holes


def cover(image: Image.Image, width: int, height: int, resample: Image.Resampling) -> Image.Image:
    """Resized to fill `width` x `height`, what stands over cut off evenly; the same image when it fits already."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), method=resample)


def as_picture(image: Image.Image) -> Picture:
    mode: Mode = "L" if image.mode == "L" else "RGB"
    return Picture(image.width, image.height, mode, image.tobytes())
