"""The streams of orders that both sides of a comparison are given."""

from __future__ import annotations

from collections import Counter

from benchmarks.traffic import TWENTY_BLENDS, alike, zipf
from sdxl_gateway.catalog.model_grammar import split_model

MANY = 20_000


def test_twenty_blends_are_twenty() -> None:
    parsed = {tuple(sorted((part.name, part.weight) for part in split_model(name)[1:])) for name in TWENTY_BLENDS}

    assert len(parsed) == 20
    assert {len(parts) for parts in parsed} == {1, 2, 3}


def test_a_blend_is_asked_for_in_proportion_to_its_rank() -> None:
    counts = Counter(order.model for order in zipf(steps=8, pictures=MANY, seed=1))
    whole = sum(1 / k for k in range(1, 21))

    for k in (1, 2, 10, 20):
        expected = MANY / k / whole
        assert abs(counts[TWENTY_BLENDS[k - 1]] - expected) < 0.2 * expected


def test_a_seed_gives_one_stream() -> None:
    assert zipf(8, 50, seed=3) == zipf(8, 50, seed=3)
    assert zipf(8, 50, seed=3) != zipf(8, 50, seed=4)


def test_one_blend_is_asked_for_the_same_pictures() -> None:
    stream = zipf(8, 50, seed=3)

    assert [(order.seed, order.steps) for order in alike(stream)] == [(order.seed, order.steps) for order in stream]
    assert len({order.model for order in alike(stream)}) == 1
