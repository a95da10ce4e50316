"""Takes uploaded pictures, gives sRGB pixels, decoded under strict limits and turned upright."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps

from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import GatewayError, InvalidImage
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.pictures.colour import in_srgb
from sdxl_gateway.pictures.jpeg_scans import scan_count

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_SCANS = 64
"""Encoders write up to a dozen; each costs a pass over all pixels, even one of 60 bytes."""
OPAQUE = 128
"""Pixels of lower alpha are repainted; OpenAI's API only defines full and no transparency."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upload as RGB; `mask` ("L", 255 = repaint) if one was sent or the picture itself has transparent pixels."""

    image: Image.Image
    mask: Image.Image | None

    @property
    def task(self) -> Task:
        """The task of an edit of this upload."""
        return Task.IMAGE_TO_IMAGE if self.mask is None else Task.INPAINT


def measure(upload: Upload, max_pixels: int) -> int:
    """The number of pixels, by its header. Raises InvalidImage naming the field."""
    with _plain_refusals(upload.field, max_pixels):
        image = _open(upload, max_pixels)
        return image.width * image.height


def decode_picture(upload: Upload, max_pixels: int) -> Image.Image:
    """Its colours, RGB. Raises InvalidImage naming the field."""
    with _plain_refusals(upload.field, max_pixels):
        return _rgb(_upright(upload, max_pixels))


def decode_with_holes(upload: Upload, max_pixels: int) -> Decoded:
    """Its colours, and a mask of its transparent pixels if it has any. Raises InvalidImage naming the field."""
    with _plain_refusals(upload.field, max_pixels):
        upright = _upright(upload, max_pixels)
        rgb, holes = _rgb(upright), _holes(upright)
    return Decoded(rgb, holes if holes is not None and holes.getbbox() else None)


def decode_mask(upload: Upload, size: Size, max_pixels: int) -> Image.Image:
    """The mask of its transparent pixels, ignoring colours. Raises InvalidImage naming the field, also for its size."""
    with _plain_refusals(upload.field, max_pixels):
        upright = _upright(upload, max_pixels)
        holes = _holes(upright)
    if upright.size != size:
        raise InvalidImage("Invalid mask image format - mask size does not match image size.", param=upload.field)
    if holes is None:
        raise InvalidImage("Invalid mask image format - mask image missing alpha channel.", param=upload.field)
    if not holes.getbbox():
        raise InvalidImage("The mask has no transparent pixels, so there is nothing to paint.", param=upload.field)
    return holes


def _open(upload: Upload, max_pixels: int) -> Image.Image:
    """With only its header decoded."""
    image = Image.open(io.BytesIO(upload.data), formats=FORMATS)
    if image.width * image.height > max_pixels:
        raise _too_large(upload.field, max_pixels)
    if scan_count(upload.data) > MAX_SCANS:
        message = f"Invalid image file for '{upload.field}': a JPEG of more than {MAX_SCANS} scans."
        raise InvalidImage(message, param=upload.field)
    return image


def _upright(upload: Upload, max_pixels: int) -> Image.Image:
    image = _open(upload, max_pixels)
    image.load()
    # In place, as otherwise every picture is copied, though nearly all are upright already.
    ImageOps.exif_transpose(image, in_place=True)
    return image


@contextmanager
def _plain_refusals(field: str, max_pixels: int) -> Iterator[None]:
    """Replaces any decoder error by one plain sentence, as its own text may contain memory addresses and paths."""
    try:
        yield
    except GatewayError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(field, max_pixels) from error
    except Exception as error:
        raise InvalidImage(f"Invalid image file for '{field}': it cannot be decoded.", param=field) from error


def _too_large(field: str, max_pixels: int) -> InvalidImage:
    message = f"Invalid image for '{field}': more than {max_pixels} pixels."
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


def cover(image: Image.Image, width: int, height: int, resample: Image.Resampling) -> Image.Image:
    """Resized to fill `width` x `height` and centre-cropped; the same image if it has that size already."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), method=resample)
