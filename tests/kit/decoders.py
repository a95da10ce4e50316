"""The decoding processes that all tests of a session share, and the same work done in this process."""

from __future__ import annotations

from functools import cache

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.picture import Size
from sdxl_gateway.decoding.pool import Decoders
from sdxl_gateway.pictures.decode import Decoded, decode_mask, decode_picture, decode_with_holes


@cache
def decoders(limits: Limits | None = None) -> Decoders:
    return Decoders(limits or Limits())


def decode(image: Upload, mask: Upload | None, limits: Limits) -> Decoded:
    """The decoded inputs of an edit of `image`, decoded in this process."""
    if mask is None:
        return decode_with_holes(image, limits.max_input_pixels)
    picture = decode_picture(image, limits.max_input_pixels)
    return Decoded(picture, decode_mask(mask, Size(*picture.size), limits.max_input_pixels))
