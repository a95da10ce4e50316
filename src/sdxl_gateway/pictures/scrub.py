"""Takes an upload's file, gives the same picture without metadata on who made it, where, when and with what.

The coded pixels are copied unchanged. Metadata that changes their look is kept: the colour profile and the orientation.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidImage

FORMATS = ("PNG", "JPEG", "WEBP")
ORIENTATION = 0x0112
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"cICP"}
_WEBP_KEPT = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04
_SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_BARE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a length, which may occur within coded pixels."""


def scrubbed(upload: Upload) -> bytes:
    """The file without EXIF, XMP, IPTC, comments, texts, thumbnails and whatever follows its end.

    For PNG, JPEG and WebP; of a JPEG with several pictures, as phones write them, the first. Raises InvalidImage for
    other formats, and for a truncated file.
    """
    try:
        with Image.open(io.BytesIO(upload.data), formats=FORMATS) as image:
            kind, exif = image.format, _orientation_only(image)
        parts = {"PNG": _png, "JPEG": _jpeg, "MPO": _jpeg, "WEBP": _webp}[kind or ""](upload.data, exif)
        return b"".join(parts)
    except Exception as error:  # Pillow raises many kinds of errors
        message = f"Invalid image file for '{upload.field}': it cannot be decoded."
        raise InvalidImage(message, param=upload.field) from error


def _orientation_only(image: Image.Image) -> bytes:
    """EXIF that holds only the orientation; empty for a picture that is upright."""
    orientation = image.getexif().get(ORIENTATION, 1)
    if orientation not in range(2, 9):
        return b""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif.tobytes()


def _png(data: bytes, exif: bytes) -> Iterator[bytes]:
    yield PNG_SIGNATURE
    at, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in _PNG_KEPT:
            yield _exactly(data, at, 12 + length)
        if kind == b"IHDR" and exif:
            yield _png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
        at += 12 + length


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _jpeg(data: bytes, exif: bytes) -> Iterator[bytes]:
    """Segment by segment; coded pixels extend to the next marker that cannot occur within them."""
    yield data[:2]
    if exif:
        yield struct.pack(">BBH", 0xFF, _APP1, len(exif) + 2) + exif
    at = 2
    while True:
        at, marker = _marker(data, at)
        if marker == _EOI:
            break
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if _jpeg_kept(marker, data[at + 4 : at + 18]):
            yield _exactly(data, at, end - at)
        if marker == _SOS:
            start, end = end, _coded_end(data, end)
            yield data[start:end]
        at = end
    yield bytes([0xFF, _EOI])


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The next marker's position and code; any number of fill bytes 0xFF may precede it."""
    if data[at] != 0xFF:
        raise ValueError("no marker")
    while data[at + 1] == 0xFF:
        at += 1
    return at, data[at + 1]


def _jpeg_kept(marker: int, begin: bytes) -> bool:
    if marker == _APP0:
        return begin.startswith(b"JFIF\0")
    if marker == _APP2:
        return begin.startswith(b"ICC_PROFILE\0")
    return marker == _APP14 or not (_APP1 <= marker <= _APP15 or marker == _COM)


def _coded_end(data: bytes, at: int) -> int:
    while True:
        at = data.index(b"\xff", at)
        after = data[at + 1]
        if after != 0x00 and after != 0xFF and after not in _BARE:
            return at
        at += 1 if after == 0xFF else 2


def _webp(data: bytes, exif: bytes) -> Iterator[bytes]:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    kept, at = [], 12
    while at < end:
        kind, length = struct.unpack_from("<4sI", data, at)
        chunk = _exactly(data, at, min(8 + length + length % 2, len(data) - at))
        if kind in _WEBP_KEPT:
            kept.append(_with_flags(chunk, exif) if kind == b"VP8X" else chunk)
        at += 8 + length + length % 2
    if exif and kept and kept[0].startswith(b"VP8X"):
        kept.append(b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2))
    body = b"WEBP" + b"".join(kept)
    yield b"RIFF" + struct.pack("<I", len(body)) + body


def _with_flags(chunk: bytes, exif: bytes) -> bytes:
    """The VP8X chunk, saying that there is no XMP, and EXIF only if there is `exif`."""
    flags = chunk[8] & ~(_WEBP_EXIF | _WEBP_XMP) | (_WEBP_EXIF if exif else 0)
    return chunk[:8] + bytes([flags]) + chunk[9:]


def _exactly(data: bytes, at: int, length: int) -> bytes:
    part = data[at : at + length]
    if len(part) != length:
        raise ValueError("the file is truncated")
    return part
