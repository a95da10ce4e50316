"""Takes one end of a socket pair by its number (--fd N); decodes uploads until the server hangs up or kills it."""

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
"""Up to two megapixels, pictures find the memory of the one before; mapped anew it costs as much as passing them."""
MAX_TOLD_CHARS = 2**19
"""The longest prompts there may be, several times; each character takes at most six bytes on the way."""
PLUGINS = (WebPImagePlugin,)
"""Pillow finds the others by itself, and looks through all it has for one that is not there yet."""


def main() -> None:
    """Ends with EOFError when the server has hung up."""
    parser = argparse.ArgumentParser(prog="sdxl_gateway.decoding.child", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the channel's end, inherited from the server")
    parser.add_argument("--max-pixels", type=int, required=True, help="of a picture")
    parser.add_argument("--seconds", type=float, required=True, help="of computing for a picture")
    said = parser.parse_args()
    confine(said.max_pixels)
    return_large_blocks(BLOCK_BYTES, 2 * BLOCK_BYTES)
    Image.preinit()
    with socket.socket(fileno=said.fd) as end:
        serve(end, said.max_pixels, said.seconds)


def serve(end: socket.socket, max_pixels: int, seconds: float) -> None:
    """Answers one question after another. Raises EOFError when nobody is there to ask."""
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
    """With the descriptor of the pixels. All else that decoding took is free again when it returns."""
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
                return _told(read_written(Upload(field, data)), field), None
            case _:
                raise Malformed("not a question")
    except GatewayError as error:
        return Refused(error), None


def _picture(upload: Upload, holes: bool, max_pixels: int) -> list[Image.Image]:
    if not holes:
        return [decode_picture(upload, max_pixels)]
    found = decode_with_holes(upload, max_pixels)
    return [found.image] if found.mask is None else [found.image, found.mask]


def _told(found: Written | None, field: str) -> Told:
    if found is None:
        return Told("", "")
    recipe = _json(found.recipe)
    if len(found.parameters) + len(recipe) > MAX_TOLD_CHARS:
        raise InvalidImage(f"Invalid image file for '{field}': it tells too much.", param=field)
    return Told(found.parameters, recipe)


def _json(recipe: dict[str, Any] | None) -> str:
    """Empty for none, and for one that is nested so deeply that nobody meant it."""
    try:
        return "" if recipe is None else json.dumps(recipe)
    except RecursionError:
        return ""


def _with_pixels(images: list[Image.Image]) -> tuple[Planes, int]:
    width, height = images[0].size
    return Planes(width, height, tuple("L" if image.mode == "L" else "RGB" for image in images)), filled(images)


if __name__ == "__main__":
    main()
