"""`padding` in every spelling, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from sdxl_gateway.api.asks.padding import read_padding
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.picture import Padding

READ: list[tuple[Any, Padding]] = [
    (64, Padding(64, 64, 64, 64)),
    ("64", Padding(64, 64, 64, 64)),
    ({"left": 8, "top": "16"}, Padding(8, 16)),
    ('{"right": 3, "left": null}', Padding(right=3)),
    ({}, Padding()),
]
REFUSED: list[tuple[Any, str]] = [
    (-1, "padding"),
    (5000, "padding"),
    (True, "padding"),
    ([8, 8], "padding"),
    ("a lot", "padding"),
    ("{", "padding"),
    ("{" * 5000, "padding"),
    ({"middle": 3}, "padding"),
    ({"left": -8}, "padding.left"),
    ({"top": 1.5}, "padding.top"),
    ({"bottom": {}}, "padding.bottom"),
]


@pytest.mark.parametrize(("given", "found"), READ)
def test_read(given: Any, found: Padding) -> None:
    assert read_padding(given, "padding") == found


@pytest.mark.parametrize(("given", "param"), REFUSED)
def test_refused(given: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_padding(given, "padding")
    assert refused.value.param == param
