"""Who gets which arm: as many as the shares say, the same ones each time, and moved one way alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from sdxl_gateway.core.rollout import Shares, arm_of, leading, raised

CALLERS = [f"caller-{number}" for number in range(4000)]


def arms(shares: Shares, rollout: str = "fresh") -> dict[str, str]:
    return {who: arm_of(rollout, shares, who) for who in CALLERS}


@pytest.mark.parametrize("whole", [1, 100])
def test_as_many_as_the_shares_say(whole: float) -> None:
    counted = Counter(arms({"a": 0.6 * whole, "b": 0.3 * whole, "c": 0.1 * whole}).values())
    for target, share in {"a": 0.6, "b": 0.3, "c": 0.1}.items():
        spread = (share * (1 - share) / len(CALLERS)) ** 0.5
        assert counted[target] / len(CALLERS) == pytest.approx(share, abs=4 * spread)


def test_raising_a_share_moves_callers_one_way() -> None:
    steps = [arms({"old": 100 - share, "new": share}) for share in (0, 1, 5, 25, 50, 90, 100)]
    for before, after in pairwise(steps):
        assert {(before[who], after[who]) for who in CALLERS if before[who] != after[who]} == {("old", "new")}
    assert set(steps[0].values()) == {"old"}
    assert set(steps[-1].values()) == {"new"}


def test_nobody_leaves_the_one_that_is_raised_whoever_pays_for_it() -> None:
    before = arms({"a": 60, "b": 30, "c": 10})
    for after in (
        arms({"a": 40, "b": 30, "c": 30}),
        arms({"a": 60, "b": 10, "c": 30}),
        arms({"a": 48, "b": 22, "c": 30}),
    ):
        assert all(after[who] == "c" for who in CALLERS if before[who] == "c")


def test_a_new_arm_takes_from_all_and_moves_nobody_else() -> None:
    before, after = arms({"a": 0.5, "b": 0.5}), arms({"new": 0.2, "b": 0.4, "a": 0.4})
    moved = Counter((before[who], after[who]) for who in CALLERS if before[who] != after[who])
    assert moved.keys() == {("a", "new"), ("b", "new")}
    assert moved["a", "new"] == pytest.approx(moved["b", "new"], rel=0.25)


def test_two_rollouts_share_callers_out_each_for_itself() -> None:
    one, two = arms({"a": 50, "b": 50}), arms({"a": 50, "b": 50}, "other")
    both = sum(one[who] == two[who] for who in CALLERS) / len(CALLERS)
    assert both == pytest.approx(0.5, abs=0.04)


def test_any_name_of_a_caller_will_do() -> None:
    assert arm_of("fresh", {"a": 1.0}, "\ud800 lone") == "a"


def test_the_largest_leads_and_the_first_of_equals() -> None:
    assert leading({"a": 10, "b": 80, "c": 10}) == "b"
    assert leading({"b": 50, "a": 50}) == "b"


@pytest.mark.parametrize(
    ("before", "share", "after"),
    [
        ({"old": 0.6, "new": 0.3, "third": 0.1}, 65, {"old": 30.0, "new": 65, "third": 5.0}),
        ({"old": 60, "new": 30, "third": 10}, 100, {"old": 0.0, "new": 100, "third": 0.0}),
        ({"old": 0, "new": 100, "third": 0}, 40, {"old": 30.0, "new": 40, "third": 30.0}),
        ({"new": 1.0}, 100, {"new": 100}),
    ],
)
def test_the_others_have_the_rest_as_they_had_it(before: Shares, share: float, after: Shares) -> None:
    assert raised(before, "new", share) == after
