"""Makes ICC profiles: of a display from its colorants and curve, of a printer from the colours of its inks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import product

XYZ = tuple[float, float, float]
D50: XYZ = (0.96420, 1.0, 0.82491)
DISPLAY_P3: tuple[XYZ, XYZ, XYZ] = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
ADOBE_RGB: tuple[XYZ, XYZ, XYZ] = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)
SRGB: tuple[XYZ, XYZ, XYZ] = (
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.71410),
)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""The curve of IEC 61966-2.1: exponent, scale, offset, slope and end of the linear part."""
ADOBE_CURVE = (563 / 256,)


def _fixed(values: Sequence[float]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(parameters: Sequence[float]) -> bytes:
    """A parametric curve: a power function, or one with a linear part near black."""
    return b"para\0\0\0\0" + struct.pack(">HH", 0 if len(parameters) == 1 else 3, 0) + _fixed(parameters)


def _assembled(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, data, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">I4s4s", offset + len(data), b"\0\0\0\0", b"\x04\x30\0\0") + kind + space + connection
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def display_profile(colorants: tuple[XYZ, XYZ, XYZ], curve: Sequence[float]) -> bytes:
    """An RGB profile: full red, green and blue under D50, and one curve for all three."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50)}
    for letter, colorant in zip(b"rgb", colorants, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(colorant)
        tags[bytes([letter]) + b"TRC"] = _curve(curve)
    return _assembled(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(curve: Sequence[float]) -> bytes:
    """A grey profile of that curve."""
    return _assembled(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50), b"kTRC": _curve(curve)})


def printer_profile(lightness: Callable[[tuple[int, ...]], int]) -> bytes:
    """A CMYK profile of neutral inks: `lightness` (0..100) at each corner, inks being 0 or 1, and linear between."""
    ramp = bytes(range(256))
    corners = b"".join(bytes([round(lightness(inks) * 2.55), 128, 128]) for inks in product((0, 1), repeat=4))
    identity = _fixed((1, 0, 0, 0, 1, 0, 0, 0, 1))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + corners + ramp * 3
    return _assembled(b"prtr", b"CMYK", b"Lab ", {b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50), b"A2B0": table})
