"""Who may share a step, and how that changes where another model takes over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdxl_gateway.core.recipe import NO_BLEND, Blend, BlendPart, Phase, Recipe
from sdxl_gateway.scheduling.batch_key import BatchKey
from sdxl_gateway.scheduling.costs import step_work
from tests.kit.jobs import recipe

REFINED = replace(recipe(steps=5), later_phases=(Phase("refiner", "1", NO_BLEND, from_step=3),))


@pytest.mark.parametrize(
    "like",
    [
        recipe("other words", steps=9, count=3),
        replace(recipe(), blend=Blend.of([BlendPart("a", 0.0, 1.0)])),
        replace(recipe(), guidance_end=0.0),
    ],
)
def test_what_does_not_matter(like: Recipe) -> None:
    assert BatchKey.of(like, 0) == BatchKey.of(recipe(), 0)


@pytest.mark.parametrize(
    "unlike",
    [
        recipe(blend="a"),
        recipe(guided=False),
        replace(recipe(), checkpoint_digest="1"),
        replace(recipe(), checkpoint_digest="", checkpoint="other"),
        replace(recipe(), paint_width=16),
        replace(recipe(), paint_height=16),
    ],
)
def test_what_does(unlike: Recipe) -> None:
    assert BatchKey.of(unlike, 0) != BatchKey.of(recipe(), 0)


def test_block_weights_are_a_blend_of_their_own() -> None:
    even, uneven, other = (
        replace(recipe(), blend=Blend.of([BlendPart("a", 1.0, 1.0, "", blocks)]))
        for blocks in ((), (*[1.0] * 18, 0.5), (*[1.0] * 18, 0.25))
    )
    assert len({BatchKey.of(one, 0) for one in (even, uneven, other)}) == 3


def test_a_checkpoint_without_a_digest_is_known_by_its_name() -> None:
    nameless = replace(recipe(), checkpoint_digest="")
    assert BatchKey.of(nameless, 0).checkpoint == "demo"
    assert BatchKey.of(recipe(), 0).checkpoint == "0"


def test_a_later_phase_has_a_key_of_its_own() -> None:
    first, second = BatchKey.of(recipe(), 0), BatchKey.of(REFINED, 4)
    assert [BatchKey.of(REFINED, done) for done in range(5)] == [first, first, first, second, second]
    assert second.weights == ("1", ())
    assert [phase.checkpoint for phase in REFINED.phases] == ["demo", "refiner"]


@pytest.mark.parametrize(("guided", "embeds", "rows"), [(True, False, 2), (False, False, 1), (True, True, 1)])
def test_work_is_the_rows_the_unet_is_given(guided: bool, embeds: bool, rows: int) -> None:
    wanted = replace(recipe(guided=guided), embeds_guidance=embeds)
    assert wanted.unet_rows == rows
    assert step_work(wanted) == rows * 64 / 1e6
