"""Takes an image with its embedded colour profile, converts it to sRGB, in which models and outputs are."""

from __future__ import annotations

import io
from functools import cache
from itertools import product

from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4 * 2**20
"""Printer profiles take one or two megabytes; a larger one is ignored."""
NEARLY = 1
"""A profile that changes no channel by more than this is sRGB by another name; the pixels are not converted."""
_SPACES = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}
_MODES = {"RGBA": "RGB", "RGBX": "RGB", "P": "RGB", "PA": "RGB", "LA": "L"}


def in_srgb(image: Image.Image) -> Image.Image:
    """The image as "RGB", without alpha; a profile that is broken, too large or for another mode is ignored."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) > MAX_PROFILE_BYTES:
        return _rgb(image)
    mode = _MODES.get(image.mode, image.mode)
    try:
        transform = _to_srgb(profile, mode)
        return _rgb(image) if transform is None else transform.apply(image.convert(mode))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    """The same image if it is RGB already, as converting copies."""
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None if the profile is for another mode, or changes nothing. Raises for a broken profile."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if _SPACES.get(opened.profile.xcolor_space) != mode:
        return None
    transform = ImageCms.ImageCmsTransform(opened, _srgb(), mode, "RGB")
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    before = _colours()
    pairs = zip(before.tobytes(), transform.apply(before).tobytes(), strict=True)
    return all(abs(one - other) <= NEARLY for one, other in pairs)


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _colours() -> Image.Image:
    """729 colours spread over the RGB cube."""
    levels = (0, 16, 48, 80, 112, 144, 176, 216, 255)
    return Image.frombytes("RGB", (27, 27), bytes(value for colour in product(levels, repeat=3) for value in colour))
