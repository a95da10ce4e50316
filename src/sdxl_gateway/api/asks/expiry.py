"""Reads how long a request wants files to be kept."""

from __future__ import annotations

from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.values import choice, integer, missing, wrong_type

ANCHOR = Field("anchor", Kind.CHOICE, "From when on.", choices=("created_at",))
SECONDS = Field("seconds", Kind.INTEGER, "How long files are kept.", low=3600, high=2_592_000)
EXPIRY_SCHEMA = {
    "type": "object",
    "properties": {
        "anchor": {"type": "string", "enum": ["created_at"]},
        "seconds": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
    "required": ["anchor", "seconds"],
}


def read_expiry(given: Any, param: str) -> float | None:
    """The time in seconds; None if none is given. Raises InvalidRequest naming what is wrong in `param`."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise wrong_type(param, "an object", given)
    choice(ANCHOR, given.get("anchor", ""), f"{param}.anchor")
    if "seconds" not in given:
        raise missing(f"{param}.seconds")
    return float(integer(SECONDS, given["seconds"], f"{param}.seconds"))
