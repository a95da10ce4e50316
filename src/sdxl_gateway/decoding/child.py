"""Takes one end of a socket pair by its descriptor (--fd N), decodes uploads until the server closes it or kills it."""

from __future__ import annotations

import argparse
import json
import os
import socket
from typing import Any

from PIL import Image, WebPImagePlugin

from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import GatewayError, InvalidImage
from sdxl_gateway.core.memory import return_large_blocks
from sdxl_gateway.core.picture import Size
from sdxl_gateway.decoding.confinement import allow_cpu, confine
from sdxl_gateway.decoding.memory import contents, filled
from sdxl_gateway.decoding.messages import (
    Answer,
    DecodeMask,
    DecodePicture,
    Measure,
    Measured,
    Message,
    Planes,
    ReadWritten,
    Ready,
    Refused,
    Told,
)
from sdxl_gateway.decoding.wire import receive, send
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.pictures.decode import decode_mask, decode_picture, decode_with_holes, measure
from sdxl_gateway.pictures.written import Written, read_written

BLOCK_BYTES = 8 * 2**20
"""Pictures of up to two megapixels reuse freed memory; mapping it anew costs as much as sending the picture."""
MAX_WRITTEN_CHARS = 2**19
"""Several of the longest prompts possible; each character takes at most six bytes in a message."""
PLUGINS = (WebPImagePlugin,)
"""Imported here since `Image.preinit` omits it; at the first WebP Pillow would import all plugins it has."""


def main() -> None:
    """Ends with EOFError when the server has closed the channel."""
    parser = argparse.ArgumentParser(prog="sdxl_gateway.decoding.child", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the channel's end, inherited from the server")
    parser.add_argument("--max-pixels", type=int, required=True, help="of a picture")
    parser.add_argument("--seconds", type=float, required=True, help="of CPU time for a picture")
    arguments = parser.parse_args()
    confine(arguments.max_pixels)
    return_large_blocks(BLOCK_BYTES, 2 * BLOCK_BYTES)
    Image.preinit()
    with socket.socket(fileno=arguments.fd) as end:
        serve(end, arguments.max_pixels, arguments.seconds)


def serve(end: socket.socket, max_pixels: int, seconds: float) -> None:
    """Answers one question after another. Raises EOFError when the server is gone."""
    send(end, Ready())
    while True:
        message, memory = receive(end)
        if memory is None:
            raise Malformed("a question without an upload")
        allow_cpu(seconds)
        answer, pixels = _answer(message, memory, max_pixels)
        send(end, answer, pixels)
        if pixels is not None:
            os.close(pixels)


def _answer(message: Message, memory: int, max_pixels: int) -> tuple[Answer, int | None]:
    """The answer, and the descriptor of memory with its pixels; all other memory is freed on return."""
    try:
        data = contents(memory)
    finally:
        os.close(memory)
    try:
        match message:
            case Measure(field):
                return Measured(measure(Upload(field, data), max_pixels)), None
            case DecodePicture(field, holes):
                return _with_pixels(_picture(Upload(field, data), holes, max_pixels))
            case DecodeMask(field, width, height):
                return _with_pixels([decode_mask(Upload(field, data), Size(width, height), max_pixels)])
            case ReadWritten(field):
                return _written(read_written(Upload(field, data)), field), None
            case _:
                raise Malformed("not a question")
    except GatewayError as error:
        return Refused(error), None


def _picture(upload: Upload, holes: bool, max_pixels: int) -> list[Image.Image]:
    if not holes:
        return [decode_picture(upload, max_pixels)]
    decoded = decode_with_holes(upload, max_pixels)
    return [decoded.image] if decoded.mask is None else [decoded.image, decoded.mask]


def _written(written: Written | None, field: str) -> Told:
    if written is None:
        return Told("", "")
    recipe = _json(written.recipe)
    if len(written.parameters) + len(recipe) > MAX_WRITTEN_CHARS:
        raise InvalidImage(f"Invalid image file for '{field}': its metadata is too long.", param=field)
    return Told(written.parameters, recipe)


def _json(recipe: dict[str, Any] | None) -> str:
    """Empty for None, and for one nested too deeply to be encoded."""
    try:
        return "" if recipe is None else json.dumps(recipe)
    except RecursionError:
        return ""


def _with_pixels(images: list[Image.Image]) -> tuple[Planes, int]:
    width, height = images[0].size
    return Planes(width, height, tuple("L" if image.mode == "L" else "RGB" for image in images)), filled(images)


if __name__ == "__main__":
    main()
