"""Normalizes request paths for routing: repeated slashes are merged, encoded ones are kept distinct."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

# Stands for an encoded slash, which is part of a name, until the route is found; it occurs in no decoded path.
ENCODED_SLASH = "\udc2f"
_ENCODED = re.compile("%2f", re.IGNORECASE)
_SLASHES = re.compile("/{2,}")
# A client that takes the server for a proxy writes the whole address, which RFC 9112 (3.2.2) has every server read.
_AUTHORITY = re.compile("https?://[^/]*", re.IGNORECASE)


class TidyPaths:
    """Middleware of the router: `//v1/models/` is `/v1/models`, while `/v1%2fmodels` matches no route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the tidy path."""
        if scope["type"] == "http":
            scope["path"] = tidy_path(scope.get("raw_path") or scope["path"].encode())
        await self._app(scope, receive, send)


def tidy_path(raw_path: bytes) -> str:
    """The decoded path, with ENCODED_SLASH for slashes that were encoded."""
    target = raw_path.decode("latin-1")
    if written := _AUTHORITY.match(target):
        target = target[written.end() :]
    path = unquote(_ENCODED.sub(ENCODED_SLASH, target))
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def with_slashes(text: str) -> str:
    """A name from a tidy path, with its encoded slashes decoded."""
    return text.replace(ENCODED_SLASH, "/")
