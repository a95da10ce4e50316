"""Reads `padding`, in pixels beyond each edge."""

from __future__ import annotations

from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.values import integer, json_text, wrong_type
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.limits import LONGEST_SIDE
from sdxl_gateway.core.picture import Padding
from sdxl_gateway.core.text import shown

EDGES = ("left", "top", "right", "bottom")
MAX_TEXT_CHARS = 1024
_SIDE = Field("padding", Kind.INTEGER, "", low=0, high=LONGEST_SIDE)


def read_padding(given: Any, param: str) -> Padding:
    """The padding: a number for all edges, an object with one for each, or text of either. Raises InvalidRequest."""
    if isinstance(given, str) and given.lstrip().startswith("{"):
        given = _from_text(given, param)
    if not isinstance(given, dict):
        return Padding(*[integer(_SIDE, given, param)] * len(EDGES))
    for key in given:
        if key not in EDGES:
            raise InvalidRequest(f"Unknown key in '{param}': {shown(key)}.", param=param, code="unknown_parameter")
    return Padding(
        **{key: integer(_SIDE, value, f"{param}.{key}") for key, value in given.items() if value is not None}
    )


def _from_text(given: str, param: str) -> Any:
    if len(given) > MAX_TEXT_CHARS:
        raise wrong_type(param, "an integer or an object", given)
    return json_text(given, param)
