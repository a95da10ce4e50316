"""Reads the keys in a request's headers."""

from __future__ import annotations

from starlette.types import Scope

MAX_KEY_BYTES = 4096
MAX_KEYS = 4
_HEADERS = (b"authorization", b"api-key", b"x-api-key")


def offered_keys(scope: Scope) -> list[bytes]:
    """The keys of the request's headers, at most four, as bytes: a header need not be text."""
    keys = []
    for name, value in scope["headers"]:
        if name not in _HEADERS:
            continue
        scheme, _, token = value.partition(b" ")
        key = value if name != b"authorization" else token if scheme.lower() == b"bearer" else b""
        if key.strip():
            keys.append(key.strip()[:MAX_KEY_BYTES])
    return keys[:MAX_KEYS]
