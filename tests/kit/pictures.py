"""Small real pictures."""

from __future__ import annotations

import base64
import io

from PIL import Image


def encoded(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 128 if mode == "L" else (90,) * len(mode)).save(buffer, kind)
    return buffer.getvalue()


PNG = encoded()
JPEG = encoded("JPEG")
WEBP = encoded("WEBP")
MASK = encoded(mode="RGBA")
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
