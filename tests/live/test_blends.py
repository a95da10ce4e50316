"""Blends as model names: each paints its own picture, in any order and company, and leaves the base as it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.live_pictures import distance, farthest, pixels
from tests.live.conftest import Paint

A = "demo+outline:0.8+sunset:0.5"
B = "demo+stripes"
MIX = ("demo", A, B, "demo+sunset:-0.5")


@pytest.fixture(scope="module")
def base(paint: Paint) -> str:
    return paint(model="demo")


def test_a_blend_is_seen(paint: Paint, base: str) -> None:
    assert distance(pixels(paint(model=A)), pixels(base)) > 2


def test_a_blend_leaves_nothing_behind(paint: Paint, base: str) -> None:
    first, other, second, after = (paint(model=name) for name in (A, B, A, "demo"))

    assert first == second
    assert distance(pixels(first), pixels(other)) > 2
    assert after == base


def test_blends_painted_at_once_are_those_painted_alone(paint: Paint, base: str) -> None:
    asked = [(model, seed) for seed in (1, 2, 3) for model in MIX]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda one: paint(model=one[0], seed=one[1], steps=3), asked))

    for (model, seed), picture in zip(asked, together, strict=True):
        assert farthest(pixels(picture), pixels(paint(model=model, seed=seed, steps=3))) <= 1, (model, seed)
    assert len(set(together)) == len(asked)
    assert paint(model="demo") == base
