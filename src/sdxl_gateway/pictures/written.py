"""Takes a recipe, gives the metadata to write into a picture's file, and reads such metadata from one."""

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
"""The whole recipe as JSON; in JPEG and WebP the EXIF MakerNote, after this word and a NUL."""
USER_COMMENT = 0x9286
MAKER_NOTE = 0x927C
EXIF_IFD = 0x8769
MAX_JPEG_EXIF_BYTES = 65533
"""A JPEG's EXIF must fit into one segment. PNG and WebP have no such limit."""
FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True, slots=True)
class Written:
    """A file's metadata about how its picture was made; `recipe` is None if another tool wrote it."""

    parameters: str
    recipe: dict[str, Any] | None = None


def png_info(written: Written | None) -> PngImagePlugin.PngInfo:
    """For Pillow to save in a PNG; empty for None."""
    info = PngImagePlugin.PngInfo()
    if written is not None:
        info.add_itxt(PARAMETERS, written.parameters)
        info.add_itxt(RECIPE, json.dumps(written.recipe, ensure_ascii=False))
    return info


def exif_bytes(written: Written | None) -> bytes:
    """For Pillow to save in a JPEG or WebP; empty for None."""
    if written is None:
        return b""
    exif = Image.Exif()
    recipe = json.dumps(written.recipe, ensure_ascii=False).encode()
    exif.get_ifd(EXIF_IFD).update(
        {
            USER_COMMENT: b"UNICODE\0" + written.parameters.encode("utf-16-be"),
            MAKER_NOTE: RECIPE.encode() + b"\0" + recipe,
        }
    )
    return exif.tobytes()


def fits(written: Written, output_format: str) -> bool:
    """A file of that format can hold it."""
    return output_format != "jpeg" or len(exif_bytes(written)) <= MAX_JPEG_EXIF_BYTES


def read_written(upload: Upload) -> Written | None:
    """The file's metadata, None if there is none; no pixel is decoded. Raises InvalidImage."""
    try:
        with Image.open(io.BytesIO(upload.data), formats=FORMATS) as image:
            written = _read(image)
    except Exception as error:  # of many kinds; Pillow's own texts may contain memory addresses and paths
        message = f"Invalid image file for '{upload.field}': it cannot be read."
        raise InvalidImage(message, param=upload.field) from error
    return written if written.parameters or written.recipe else None


def _read(image: Image.Image) -> Written:
    texts = {str(key): text for key, text in image.info.items() if isinstance(text, str)}
    return _from_texts(texts) if PARAMETERS in texts or RECIPE in texts else _from_exif(image.getexif())


def _from_texts(texts: dict[str, str]) -> Written:
    return Written(texts.get(PARAMETERS, ""), recipe_in(texts.get(RECIPE, "")))


def _from_exif(exif: Image.Exif) -> Written:
    values = exif.get_ifd(EXIF_IFD)
    note = _bytes(values.get(MAKER_NOTE))
    head = RECIPE.encode() + b"\0"
    recipe = note.removeprefix(head).decode("utf-8", "replace") if note.startswith(head) else ""
    return Written(_comment(_bytes(values.get(USER_COMMENT))), recipe_in(recipe))


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _comment(value: bytes) -> str:
    """The text of a UserComment, whose first eight bytes name its encoding."""
    encodings = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}
    encoding = encodings.get(value[:8])
    return "" if encoding is None else value[8:].decode(encoding, "replace")


def recipe_in(text: str) -> dict[str, Any] | None:
    """The recipe in a JSON text; None for text that is no JSON object, or cannot be encoded as JSON again."""
    try:
        recipe = json.loads(text)
        json.dumps(recipe, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return recipe if isinstance(recipe, dict) else None
