"""Small pictures that are expensive to decode, and how much memory a process uses."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from pathlib import Path

from PIL import Image

from sdxl_gateway.pictures.decode import MAX_SCANS
from sdxl_gateway.pictures.jpeg_scans import scan_count
from tests.kit.pictures import PNG

END = b"\xff\xd9"


def with_scans(data: bytes, scans: int, between: bytes = b"") -> bytes:
    """A progressive JPEG whose last, refining scan is repeated until there are `scans`."""
    last = data[data.rindex(b"\xff\xda") : -len(END)]
    return data[: -len(END)] + (between + last) * (scans - scan_count(data)) + END


@cache
def slow_jpeg() -> bytes:
    """240 KB within every limit except that of time: decoding takes two seconds of computing."""
    return with_scans(flat("JPEG", progressive=True, quality=50), MAX_SCANS)


@cache
def large_png() -> bytes:
    """A PNG of 40 megapixels."""
    return flat("PNG")


def flat(kind: str, **options: object) -> bytes:
    """8000x5000 pixels of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (8000, 5000), (200, 30, 60)).save(buffer, kind, **options)
    return buffer.getvalue()


def memory_bytes(pid: int | str, line: str = "VmRSS") -> int:
    """The memory of that process by a line of its status; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [text.split()[1] for text in status.splitlines() if text.startswith(f"{line}:")]
    return int(found[0]) * 1024 if found else 0


def png_with(kind: bytes, data: bytes) -> bytes:
    """A small picture with an extra chunk before its pixels."""
    whole = PNG
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return whole[:33] + chunk + whole[33:]


def text_bomb(kind: bytes) -> bytes:
    """A picture with a zTXt or iCCP chunk of 100 KB that expands to a thousand times as much."""
    return png_with(kind, b"name\0\0" + zlib.compress(bytes(10**8), 9))


@cache
def largest_webp() -> bytes:
    """A WebP of the largest size the format allows, in 40 bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (16383, 16383), (1, 2, 3)).save(buffer, "WEBP", lossless=True, method=0)
    return buffer.getvalue()
