"""Decodes the pictures in replies, and compares them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.int16]


def pixels(data: bytes | str) -> Pixels:
    """The pixels (height, width, 3) of an encoded picture, or of its base64 text."""
    raw = base64.b64decode(data) if isinstance(data, str) else data
    with Image.open(io.BytesIO(raw)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)


def farthest(a: Pixels, b: Pixels) -> int:
    """The largest difference of any channel, in steps of 1/255."""
    return int(np.abs(a - b).max())


def distance(a: Pixels, b: Pixels) -> float:
    """The mean difference, in steps of 1/255."""
    return float(np.abs(a - b).mean())


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def b64(reply: Any, index: int = 0) -> str:
    """The base64 picture of an SDK reply."""
    text = reply.data[index].b64_json
    if not isinstance(text, str):
        raise TypeError("the reply holds no base64")
    return text
