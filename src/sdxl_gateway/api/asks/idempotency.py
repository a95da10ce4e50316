"""The Idempotency-Key of a request, and the fingerprint that tells it from other requests under that key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from starlette.requests import Request

from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.stored_job import JobKey
from sdxl_gateway.storage.idempotency_table import Scope

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,255}")
CHANGES_THE_REPLY = ("prefer",)
"""Headers that change the reply to the same body."""


def idempotency_key(request: Request) -> str | None:
    """The value of the header, if there is one. Raises InvalidRequest if it is not valid."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise InvalidRequest(f"An {HEADER} is 1 to 255 printable ASCII characters without blanks.", param=HEADER)
    return key


def fingerprint(ask: Ask, headers: Mapping[str, str]) -> bytes:
    """Equal for requests that ask for the same, whether in JSON or as a form, and in whatever order.

    Pictures count by the digests of their bytes, which blocks.
    """
    asked = [_plain(ask), *(headers.get(name, "") for name in CHANGES_THE_REPLY)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


def job_key(scope: Scope, fingerprint: bytes, seconds: float) -> JobKey:
    """The key as a stored job remembers it: as digests, without the caller's own words."""
    return JobKey(hashlib.sha256("\0".join(scope).encode()).hexdigest(), fingerprint.hex(), seconds)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.compare}
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value
