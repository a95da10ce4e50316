"""The arithmetic behind the benchmarks' verdicts."""

from __future__ import annotations

import pytest

from benchmarks.figures import p99_row, ratio_row, seconds_row, speedup_row


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    row = ratio_row("ours / theirs", 1.05, ours=[1.0, 11.0, 2.0], theirs=[1.0, 10.0, 1.0])

    assert row.figure == pytest.approx(1.1)
    assert not row.kept


def test_a_speedup_has_to_reach_its_promise() -> None:
    assert speedup_row("rate", 2.0, ours=[4.0], theirs=[2.0]).kept
    assert not speedup_row("rate", 2.0, ours=[3.9], theirs=[2.0]).kept


def test_p99_is_decided_by_the_slowest() -> None:
    quick = [0.001] * 95

    assert p99_row("health", 0.1, quick).kept
    assert not p99_row("health", 0.1, [*quick, *[0.5] * 5]).kept


def test_what_is_not_promised_is_neither_kept_nor_broken() -> None:
    assert seconds_row("load", None, [1.0, 3.0, 2.0]).kept is None
    assert seconds_row("load", None, [1.0, 3.0, 2.0]).figure == 2.0
    assert not seconds_row("load", 1.5, [1.0, 3.0, 2.0]).kept
