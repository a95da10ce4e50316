"""Reads pictures in every form clients send (file, data URL, base64, URL, reference object) as Uploads."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.fields import MAX_IMAGES
from sdxl_gateway.api.asks.values import missing, text, wrong_type
from sdxl_gateway.core.ask import Elsewhere, Place, Upload
from sdxl_gateway.core.errors import BodyTooLarge, InvalidImage, InvalidRequest
from sdxl_gateway.core.text import shown

# Real heads have about 30 characters; text with a longer one is no data URL.
MAX_DATA_URL_HEAD = 1024
MAX_URL_CHARS = 8192
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SPACE = b" \t\n\r\v\f"
# A call into C blocks all other threads while it runs, so long text is decoded in pieces.
_PIECE_CHARS = 2**20
_PICTURE_KEYS = ("image_url", "url", "b64_json")
_OBJECT_KEYS = (*_PICTURE_KEYS, Place.FILE, "type", "detail")
_FILE_ID = Field("file_id", Kind.TEXT, "The id of a file.", max_chars=64)


def picture_kind(data: bytes) -> str | None:
    """ "png", "jpeg" or "webp" by the first bytes; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def upload(data: bytes, param: str, max_bytes: int) -> Upload:
    """The bytes under their field's name. Raises InvalidImage or BodyTooLarge naming that field."""
    if not data:
        raise InvalidImage(f"Invalid file '{param}': the file is empty.", param=param, code="empty_image_file")
    if len(data) > max_bytes:
        raise too_large(param, max_bytes)
    if picture_kind(data) is None:
        raise InvalidImage(f"Invalid image file '{param}'. Supported formats are PNG, JPEG and WebP.", param=param)
    return Upload(param, data)


def too_large(param: str, max_bytes: int) -> BodyTooLarge:
    """The error for a picture file above the limit."""
    return BodyTooLarge(
        f"Invalid file '{param}': an image has at most {max_bytes} bytes.", param=param, code="image_file_too_large"
    )


def read_pictures(given: Any, param: str, max_bytes: int) -> tuple[Upload, ...]:
    """The pictures of a JSON body's `images` or `image`: one reference or up to 16."""
    if not isinstance(given, list):
        return (read_picture(given, param, max_bytes),)
    if not given:
        raise missing(param, given=True)
    if len(given) > MAX_IMAGES:
        raise too_many(param, MAX_IMAGES)
    return tuple(read_picture(one, f"{param}[{index}]", max_bytes) for index, one in enumerate(given))


def too_many(param: str, most: int) -> InvalidRequest:
    """The error for more pictures than a field may have."""
    images = "image" if most == 1 else "images"
    return InvalidRequest(f"Invalid '{param}': at most {most} {images}.", param=param, code="array_above_max_length")


def read_picture(given: Any, param: str, max_bytes: int) -> Upload:
    """A picture from text for `read_text`, or from an object with text or a file's id. Raises naming the place."""
    if isinstance(given, str):
        return read_text(given, param, max_bytes)
    if not isinstance(given, dict):
        raise wrong_type(param, "an image reference", given)
    reference = {key: value for key, value in given.items() if value is not None}
    _check_keys(reference, param)
    if Place.FILE in reference:
        return _file(reference, f"{param}.{Place.FILE}")
    key = next((key for key in _PICTURE_KEYS if key in reference), None)
    if key is None:
        raise missing(f"{param}.image_url")
    inner = reference[key]
    if isinstance(inner, dict):
        inner = inner.get("url")
    if not isinstance(inner, str):
        raise wrong_type(f"{param}.{key}", "a string", inner)
    return read_text(inner, f"{param}.{key}", max_bytes)


def _check_keys(reference: dict[str, Any], param: str) -> None:
    for key in reference:
        if key not in _OBJECT_KEYS:
            raise InvalidRequest(
                f"Unknown key in an image reference: {shown(key)}.", param=param, code="unknown_parameter"
            )


def _file(reference: dict[str, Any], param: str) -> Upload:
    """A picture to be read from a file that was uploaded before."""
    if also := next((key for key in _PICTURE_KEYS if key in reference), None):
        raise InvalidRequest(f"An image reference has either a 'file_id' or '{also}', not both.", param=param)
    file_id = text(_FILE_ID, reference[Place.FILE], param)
    return Upload(param, b"", Elsewhere(Place.FILE, file_id))


def read_text(given: str, param: str, max_bytes: int) -> Upload:
    """A picture from a data URL, base64, or a URL. Raises as `read_picture` does."""
    if _ADDRESS.match(given[:40]):
        return _at_address(given.strip(), param)
    return upload(_decoded(given, param, max_bytes), param, max_bytes)


def _at_address(url: str, param: str) -> Upload:
    """A picture to be fetched from its URL."""
    if not url.lower().startswith(("http://", "https://")) or len(url) > MAX_URL_CHARS:
        message = f"Invalid '{param}': an address of an image is http or https, of at most {MAX_URL_CHARS} characters."
        raise InvalidRequest(message, param=param, code="invalid_image_url")
    return Upload(param, b"", Elsewhere(Place.WEB, url))


def _decoded(given: str, param: str, max_bytes: int) -> bytes:
    """The bytes of a data URL or of plain base64. Raises InvalidImage or BodyTooLarge."""
    start = _payload_start(given)
    if len(given) - start > max_bytes * 3 // 2 + 1024:
        raise too_large(param, max_bytes)
    try:
        return _from_base64(given, start)
    except (binascii.Error, ValueError):
        raise InvalidImage(
            f"Invalid '{param}': neither a base64 data URL nor base64.", param=param, code="invalid_base64_image"
        ) from None


def _payload_start(given: str) -> int:
    """The index at which the base64 of a data URL begins; 0 for any other text."""
    head, comma, _ = given[:MAX_DATA_URL_HEAD].partition(",")
    head = head.lower()
    return len(head) + 1 if comma and head.startswith("data:") and head.endswith(";base64") else 0


def _from_base64(given: str, start: int) -> bytes:
    """The bytes of base64, which may contain spaces and lack padding. Raises ValueError or binascii.Error."""
    found, left = [], b""
    for at in range(start, len(given), _PIECE_CHARS):
        left += given[at : at + _PIECE_CHARS].encode("ascii").translate(None, _SPACE)
        whole = (len(left) - 1) // 4 * 4
        found.append(base64.b64decode(left[:whole], validate=True))
        left = left[whole:]
    found.append(base64.b64decode(left + b"=" * (-len(left) % 4), validate=True))
    return b"".join(found)
