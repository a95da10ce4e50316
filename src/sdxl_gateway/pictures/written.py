"""Takes a recipe, gives what is written into a picture's file of it; and reads it back out of one."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from PIL import Image, PngImagePlugin

from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidImage

PARAMETERS = "parameters"
"""The text that image browsers and other SDXL tools look for; in JPEG and WebP the EXIF UserComment."""
RECIPE = "sdxl-gateway"
"""The recipe whole, as JSON; in JPEG and WebP the EXIF MakerNote, after this word and a NUL."""
USER_COMMENT = 0x9286
MAKER_NOTE = 0x927C
EXIF_IFD = 0x8769
MAX_JPEG_EXIF_BYTES = 65533
"""A JPEG has its EXIF in one segment. PNG and WebP have no such bound."""
FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True, slots=True)
class Written:
    """What a file says of how its picture was made; `recipe` is None where another tool wrote it."""

    parameters: str
    recipe: dict[str, Any] | None = None


def png_info(written: Written | None) -> PngImagePlugin.PngInfo:
    """As Pillow saves it in a PNG; empty for None."""
    info = PngImagePlugin.PngInfo()
    if written is not None:
        info.add_itxt(PARAMETERS, written.parameters)
        info.add_itxt(RECIPE, json.dumps(written.recipe, ensure_ascii=False))
    return info


def exif_bytes(written: Written | None) -> bytes:
    """As Pillow saves it in a JPEG or WebP; empty for None."""
    if written is None:
        return b""
    exif = Image.Exif()
    told = json.dumps(written.recipe, ensure_ascii=False).encode()
    exif.get_ifd(EXIF_IFD).update(
        {
            USER_COMMENT: b"UNICODE\0" + written.parameters.encode("utf-16-be"),
            MAKER_NOTE: RECIPE.encode() + b"\0" + told,
        }
    )
    return exif.tobytes()


def fits(written: Written, output_format: str) -> bool:
    """A file of that format can hold it."""
    return output_format != "jpeg" or len(exif_bytes(written)) <= MAX_JPEG_EXIF_BYTES


def read_written(upload: Upload) -> Written | None:
    """What the file of a picture says, None when it says nothing; no pixel is decoded. Raises InvalidImage."""
    try:
        with Image.open(io.BytesIO(upload.data), formats=FORMATS) as image:
            found = _read(image)
    except Exception as error:  # Pillow's own words carry addresses and paths
        message = f"Invalid image file for '{upload.field}': it cannot be read."
        raise InvalidImage(message, param=upload.field) from error
    return found if found.parameters or found.recipe else None


def _read(image: Image.Image) -> Written:
    texts = {str(key): text for key, text in image.info.items() if isinstance(text, str)}
    return _from_texts(texts) if PARAMETERS in texts or RECIPE in texts else _from_exif(image.getexif())


def _from_texts(texts: dict[str, str]) -> Written:
    return Written(texts.get(PARAMETERS, ""), recipe_in(texts.get(RECIPE, "")))


def _from_exif(exif: Image.Exif) -> Written:
    values = exif.get_ifd(EXIF_IFD)
    note = _bytes(values.get(MAKER_NOTE))
    head = RECIPE.encode() + b"\0"
    told = note.removeprefix(head).decode("utf-8", "replace") if note.startswith(head) else ""
    return Written(_comment(_bytes(values.get(USER_COMMENT))), recipe_in(told))


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _comment(value: bytes) -> str:
    """A UserComment names its encoding in eight bytes."""
    encodings = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}
    encoding = encodings.get(value[:8])
    return "" if encoding is None else value[8:].decode(encoding, "replace")


def recipe_in(text: str) -> dict[str, Any] | None:
    """The recipe that JSON text is; None where it is none, or cannot be sent on as JSON."""
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
