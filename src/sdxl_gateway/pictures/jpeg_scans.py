"""Takes a JPEG's bytes, counts its scans: the number of times a decoder passes over the whole picture."""

from __future__ import annotations

import re

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A marker that begins a segment with a length, or ends the picture; not fill bytes, restarts or stuffed zeros."""
_END, _SCAN = 0xD9, 0xDA


def scan_count(data: bytes) -> int:
    """The scans up to the picture's end; 0 for other formats. Even a scan of a few bytes costs a whole pass."""
    if not data.startswith(b"\xff\xd8"):
        return 0
    scans, position = 0, 2
    while (match := _MARKER.search(data, position)) is not None:
        marker, start = data[match.start() + 1], match.end()
        if marker == _END:
            break
        scans += marker == _SCAN
        position = start + max(2, int.from_bytes(data[start : start + 2], "big"))
    return scans
