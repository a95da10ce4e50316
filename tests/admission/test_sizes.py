"""Sizes: what is asked, what is painted, what leaves the house."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.admission.sizes import Sizes, check_area, native_size, own_size, paint_size
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.core.errors import InvalidImage, InvalidRequest
from sdxl_gateway.core.limits import ASPECT
from sdxl_gateway.core.picture import Size
from tests.kit.admission import demo

SMALLEST_OF_ASPECT = 64 * 64 * ASPECT
sides = st.integers(1, 8000)


def checkpoint(area: int = 1024 * 1024, budget: int = 1_600_000) -> CheckpointEntry:
    return replace(demo(), native_area=area, native_pixels=budget)


def test_a_size_within_the_limit_is_taken_as_it_is() -> None:
    assert check_area(Size(1024, 1536), 1024 * 1536) == (1024, 1536)


def test_a_size_above_the_limit_is_refused() -> None:
    with pytest.raises(
        InvalidRequest, match=r"above this server's limit of 1048576\. '1024x1024' would do\."
    ) as refused:
        check_area(Size(1032, 1024), 1024 * 1024)
    assert refused.value.param == "size"


@pytest.mark.parametrize(
    ("width", "height", "paint"),
    [
        (1024, 1024, (1024, 1024)),
        (1536, 1024, (1536, 1024)),
        (2048, 2048, (1024, 1024)),
        (4096, 1024, (2048, 512)),
        (1023, 777, (1024, 776)),
        (32, 32, (64, 64)),
        (20, 60, (64, 192)),
    ],
)
def test_painted_size(width: int, height: int, paint: tuple[int, int]) -> None:
    assert paint_size(Size(width, height), checkpoint()) == Sizes(width, height, *paint)


def test_the_usual_size_is_the_training_square_or_what_the_operator_allows() -> None:
    assert native_size(checkpoint(), 2**22) == (1024, 1024)
    assert native_size(checkpoint(), 500_000) == (704, 704)


@pytest.mark.parametrize(("width", "height"), [(40_000, 1), (1, 40_000), (401, 100)])
def test_an_upload_too_long_for_any_model_is_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidImage) as refused:
        own_size(Size(width, height), 2**22, field="image")
    assert refused.value.param == "image"


@given(sides, sides, st.integers(64 * 64, 2**22))
def test_an_upload_keeps_its_aspect_within_the_limit(width: int, height: int, limit: int) -> None:
    if max(width, height) > ASPECT * min(width, height):
        return
    wide, high = own_size(Size(width, height), limit, field="image")
    assert wide * high <= limit
    assert wide == pytest.approx(high * width / height, abs=1 + width / height)


@given(sides, sides, st.integers(64, 1500), st.floats(1, 2))
def test_what_is_painted_fits_the_model(width: int, height: int, native_side: int, room: float) -> None:
    if max(width, height) > ASPECT * min(width, height):
        return
    budget = int(native_side**2 * room)
    sizes = paint_size(Size(width, height), checkpoint(native_side**2, budget))
    assert (sizes.width, sizes.height) == (width, height)
    assert sizes.paint_width % 8 == sizes.paint_height % 8 == 0
    assert min(sizes.paint_width, sizes.paint_height) >= 64
    assert sizes.paint_width * sizes.paint_height <= max(budget, SMALLEST_OF_ASPECT)
    # Each side lies within one unit of the exact aspect.
    exact = sizes.paint_height * width / height
    assert abs(sizes.paint_width - exact) <= 8 * (1 + width / height)


@given(st.integers(8, 512), st.integers(8, 512))
def test_sizes_within_the_budget_are_painted_as_asked(width_units: int, height_units: int) -> None:
    width, height = width_units * 8, height_units * 8
    sizes = paint_size(Size(width, height), checkpoint(budget=4096 * 4096))
    assert (sizes.paint_width, sizes.paint_height) == (width, height)
