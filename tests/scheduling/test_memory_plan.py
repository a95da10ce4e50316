"""What fits where, for the published model's sizes, and that the page says so."""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from sdxl_gateway.config import Memory
from sdxl_gateway.scheduling.memory_plan import (
    LORA_BYTES,
    MODES,
    STAGING_BYTES,
    UNLIMITED_BYTES,
    WORKSPACE_BYTES,
    MemoryPlan,
    Wanted,
    decode_bytes,
    plan_memory,
    step_bytes,
    usable_bytes,
)
from sdxl_gateway.scheduling.weight_sizes import sizes_of
from tests.kit.sdxl_shapes import sdxl_shapes

GIB = 2**30
SIZES = sizes_of(sdxl_shapes())
CARDS = (4, 6, 8, 10, 12, 16, 24, 80)
PAGE = Path(__file__).parents[2] / "docs" / "MEMORY.md"
NATIVE = Wanted()


def plan(gib: float, wanted: Wanted = NATIVE) -> MemoryPlan:
    return plan_memory(SIZES, usable_bytes(int(gib * GIB)), wanted)


def test_the_sizes_are_those_of_the_published_model() -> None:
    assert SIZES.unet == pytest.approx(2_567_463_684, rel=1e-3)
    assert SIZES.text == pytest.approx(123_060_480 + 694_659_840, rel=1e-3)
    assert SIZES.unet_blocks + SIZES.text_blocks == pytest.approx(0.967 * (SIZES.unet + SIZES.text), rel=1e-3)
    shapes = sdxl_shapes()
    assert SIZES.unet == sum(prod(shape) for name, shape in shapes.items() if name.startswith("unet."))


@pytest.mark.parametrize(
    ("gib", "mode", "warm", "pristine_on_device"),
    [
        (6, "low", 19, False),
        (8, "balanced", 3, False),
        (10, "fast", 6, False),
        (12, "fast", 10, False),
        (16, "fast", 16, False),
        (24, "fast", 27, True),
        (80, "fast", 234, True),
    ],
)
def test_native_weights(gib: int, mode: str, warm: int, pristine_on_device: bool) -> None:
    found = plan(gib)
    assert (found.mode, found.fits) == (mode, True)
    assert found.warm_loras == pytest.approx(warm, abs=1)
    assert found.pristine_on_device == pristine_on_device
    assert found.lanes == NATIVE.lanes


@pytest.mark.parametrize(
    ("gib", "mode", "warm"),
    [(4, "balanced", 1), (6, "fast", 1), (8, "fast", 13), (12, "fast", 29), (16, "fast", 44), (24, "fast", 74)],
)
def test_one_byte_weights(gib: int, mode: str, warm: int) -> None:
    found = plan(gib, replace(NATIVE, weights="int8"))
    assert (found.mode, found.fits) == (mode, True)
    assert found.warm_loras == pytest.approx(warm, abs=1)
    assert found == replace(plan(gib, replace(NATIVE, weights="fp8")), weights="int8")


def test_products_of_8_bits_take_one_byte_a_number_and_originals_lie_where_copies_would() -> None:
    plain, found = plan(24), plan(24, replace(NATIVE, products="fp8"))
    assert plain.weights_bytes - found.weights_bytes == SIZES.unet_products == 1_638_400_000
    assert (found.pristine_bytes, found.pristine_on_device) == (plain.pristine_bytes, True)
    assert plan(24, replace(NATIVE, products="fp8", weights="int8")).pristine_device_bytes == 0
    assert plan(24, replace(NATIVE, weights="int8", pristine="device")).pristine_on_device


def test_eight_gib_serve_1024_pixels_with_a_lora_whole_and_unchanged() -> None:
    found = plan(8)
    assert found.whole_pixels >= 1024 * 1024
    assert found.ledger_bytes >= LORA_BYTES
    assert found.room_bytes >= decode_bytes(1024 * 1024, 2) + WORKSPACE_BYTES


@pytest.mark.parametrize(("gib", "beside"), [(8, False), (10, False), (12, False), (16, True), (24, True), (80, True)])
def test_a_decode_has_memory_of_its_own_where_a_step_leaves_it_some(gib: int, beside: bool) -> None:
    found = plan(gib)
    assert found.decodes_beside == beside
    assert beside == (found.room_bytes >= step_bytes(NATIVE, found.lanes) + decode_bytes(NATIVE.pixels, 2) + 2**29)


@pytest.mark.parametrize("weights", ["native", "int8"])
@pytest.mark.parametrize("gib", CARDS)
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_given_away_twice(mode: str, gib: int, weights: str) -> None:
    found = plan(gib, Wanted.of(Memory.model_validate({"mode": mode, "weights": weights}), 4, 2, 2))
    given = found.weights_bytes + found.staging_bytes + found.room_bytes + found.ledger_bytes
    assert given == found.usable_bytes or not found.fits
    if found.fits:
        assert found.room_bytes >= step_bytes(NATIVE, found.lanes) + WORKSPACE_BYTES
        assert found.room_bytes >= decode_bytes(min(found.whole_pixels, NATIVE.pixels), 2) + WORKSPACE_BYTES
        assert found.warm_loras >= 1


@pytest.mark.parametrize("gib", [gib / 4 for gib in range(8, 100)])
def test_more_memory_never_makes_it_slower(gib: float) -> None:
    modes = [MODES.index(plan(one).mode) for one in (gib, gib + 0.25)]
    assert modes[1] <= modes[0]


def test_the_mode_asked_for_is_taken_and_said_not_to_fit() -> None:
    found = plan(8, replace(NATIVE, mode="fast"))
    assert (found.mode, found.fits) == ("fast", False)
    assert not plan(1.5).fits


def test_a_card_without_bfloat16_decodes_in_float32_and_so_in_tiles() -> None:
    found = plan(8, replace(NATIVE, vae_number_bytes=4))
    assert (found.mode, found.fits) == ("balanced", True)
    assert found.whole_pixels < 1024 * 1024


def test_lanes_are_as_many_as_find_room() -> None:
    assert [plan(8, replace(NATIVE, lanes=16)).lanes, plan(24, replace(NATIVE, lanes=16)).lanes] == [4, 16]


def test_the_operators_budget_and_pristine_home_are_kept() -> None:
    found = plan(24, replace(NATIVE, ledger_bytes=3 * GIB, pristine="host"))
    assert (found.ledger_bytes, found.pristine_on_device) == (3 * GIB, False)
    assert plan(24, replace(NATIVE, pristine="device")).pristine_on_device
    assert not plan(24, replace(NATIVE, pristine="device", mode="low")).pristine_on_device


def test_a_device_that_shares_the_hosts_memory_has_no_limits() -> None:
    found = plan_memory(SIZES, UNLIMITED_BYTES, NATIVE)
    assert (found.mode, found.pristine_on_device, found.lanes) == ("fast", True, 4)
    assert found.whole_pixels > 10**12


def test_the_page_shows_what_the_plan_says() -> None:
    rows = re.findall(r"^\| (\d+) GiB \| (\w+) \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [(int(gib), weights) for gib, weights, _ in rows] == [
        (gib, weights) for weights in ("native", "int8") for gib in (6, 8, 12, 16, 24)
    ]
    for gib, weights, told in rows:
        found = plan(int(gib), Wanted.of(Memory.model_validate({"weights": weights}), 4, 2, 2))
        assert told.split("|") == [f" {cell} " for cell in row(found)]


def row(found: MemoryPlan) -> list[str]:
    """A row of the page's table, after the card and the format."""
    sizes = found.weights_bytes, found.room_bytes, found.ledger_bytes, found.host_bytes
    in_gib = [f"{size_bytes / GIB:.1f}" for size_bytes in sizes]
    return [found.mode, *in_gib, str(found.warm_loras), f"{found.whole_pixels / 2**20:.1f}"]


def test_buffers_are_counted_where_weights_are_streamed() -> None:
    assert [plan(24, replace(NATIVE, mode=mode)).staging_bytes for mode in MODES] == [0, STAGING_BYTES, STAGING_BYTES]
