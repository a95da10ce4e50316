"""What is too much names the field that asked for it."""

from __future__ import annotations

from typing import Any

import pytest

from sdxl_gateway.accounts.caps import check_recipe
from sdxl_gateway.core.allowance import Allowance
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.errors import InvalidRequest
from tests.kit.recipes import recipe


@pytest.mark.parametrize(
    ("asked", "painted", "param"),
    [
        ({}, {"width": 128, "height": 128}, "size"),
        ({"upscale": 2}, {"width": 128, "height": 128}, "upscale"),
        ({"upscale": 2}, {"width": 256, "height": 256}, "size"),
        ({"steps": 9}, {"steps": 9}, "steps"),
        ({"quality": "high"}, {"steps": 9}, "quality"),
        ({"quality": "high", "steps": 9}, {"steps": 9}, "steps"),
    ],
    ids=str,
)
def test_the_field_that_asked_is_named(asked: dict[str, Any], painted: dict[str, Any], param: str) -> None:
    most = Allowance(max_pixels=64 * 64, max_steps=8)
    with pytest.raises(InvalidRequest) as refused:
        check_recipe(Ask(Operation.GENERATE, **asked), recipe(**painted), most)
    assert refused.value.param == param


def test_what_both_allow_is_the_smaller() -> None:
    tenant, key = Allowance(max_n=4, max_steps=50), Allowance(max_n=8, max_pixels=4096)
    assert tenant.tightened_by(key) == Allowance(max_n=4, max_steps=50, max_pixels=4096)
