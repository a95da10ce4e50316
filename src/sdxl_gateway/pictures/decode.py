"""Takes uploaded pictures, gives sRGB pixels: decoded under strict limits, turned upright, cut to the asked size."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import GatewayError, InvalidImage
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.pictures.colour import in_srgb
from sdxl_gateway.pictures.jpeg_scans import scan_count

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_SCANS = 64
"""Encoders write up to a dozen; each costs a pass over all pixels, even one of 60 bytes."""
OPAQUE = 128
"""Alpha below this is repainted: OpenAI promises only the two ends."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upload as RGB; `mask` ("L", 255 = repaint) when one was sent or the picture itself has holes."""

    image: Image.Image
    mask: Image.Image | None

    @property
    def task(self) -> Task:
        """What an edit of this upload amounts to."""
        return Task.IMAGE_TO_IMAGE if self.mask is None else Task.INPAINT


def decode(image: Upload, mask: Upload | None, limits: Limits) -> Decoded:
    """Both decoded and checked against each other. Raises InvalidImage naming the field."""
    with _plain_refusals(image.field, limits):
        upright = _upright(image, limits)
        rgb, holes = _rgb(upright), _holes(upright)
    if mask is not None:
        return Decoded(rgb, _mask_of(mask, rgb.size, limits))
    return Decoded(rgb, holes if holes is not None and holes.getbbox() else None)


def decode_picture(upload: Upload, limits: Limits) -> Image.Image:
    """A picture that is looked at and not painted over, RGB. Raises InvalidImage naming the field."""
    with _plain_refusals(upload.field, limits):
        return _rgb(_upright(upload, limits))


def _upright(upload: Upload, limits: Limits) -> Image.Image:
    image = Image.open(io.BytesIO(upload.data), formats=FORMATS)
    if image.width * image.height > limits.max_input_pixels:
        raise _too_large(upload.field, limits)
    if scan_count(upload.data) > MAX_SCANS:
        message = f"Invalid image file for '{upload.field}': a JPEG of more than {MAX_SCANS} scans."
        raise InvalidImage(message, param=upload.field)
    image.load()
    # In place: the other way copies every picture, and all but few are upright already.
    ImageOps.exif_transpose(image, in_place=True)
    return image


@contextmanager
def _plain_refusals(field: str, limits: Limits) -> Iterator[None]:
    """Whatever a decoder says becomes one plain sentence: its own words carry addresses and paths."""
    try:
        yield
    except GatewayError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(field, limits) from error
    except Exception as error:
        raise InvalidImage(f"Invalid image file for '{field}': it cannot be decoded.", param=field) from error


def _too_large(field: str, limits: Limits) -> InvalidImage:
    message = f"Invalid image for '{field}': more than {limits.max_input_pixels} pixels."
    return InvalidImage(message, param=field, code="image_too_large")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    return in_srgb(image)


def _holes(image: Image.Image) -> Image.Image | None:
    """255 where the picture is transparent; None when it has no alpha."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return alpha.point([255 if value < OPAQUE else 0 for value in range(256)])


def _mask_of(mask: Upload, size: tuple[int, int], limits: Limits) -> Image.Image:
    """Only its holes matter: its colours are looked at by nobody."""
    with _plain_refusals(mask.field, limits):
        upright = _upright(mask, limits)
        holes = _holes(upright)
    if upright.size != size:
        raise InvalidImage("Invalid mask image format - mask size does not match image size.", param=mask.field)
    if holes is None:
        raise InvalidImage("Invalid mask image format - mask image missing alpha channel.", param=mask.field)
    if not holes.getbbox():
        raise InvalidImage("The mask has no transparent pixels, so there is nothing to paint.", param=mask.field)
    return holes


def cover(image: Image.Image, width: int, height: int, resample: Image.Resampling) -> Image.Image:
    """Resized to fill `width` x `height`, what stands over cut off evenly; the same image when it fits already."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), method=resample)
