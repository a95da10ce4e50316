from __future__ import annotations

from dataclasses import replace

import pytest

from sdxl_gateway.core.events import BlendSwitched, StepTaken
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.scheduling.batch_key import BatchKey
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.fair_share import FairShares
from sdxl_gateway.worker.scheduler import BatchHold, Candidate, Plan, Scheduler

INFINITE = float("inf")


def key(blend: str = "") -> BatchKey:
    return BatchKey("0", ((blend, 1.0),), 64, 64, True)


def candidate(job_id: str, blend: str = "", **changes: object) -> Candidate:
    plain = Candidate(job_id, 0, key(blend), "a", Priority.NORMAL, 0.0, INFINITE, 1.0, 10, begun=False)
    return replace(plain, **changes)  # type: ignore[arg-type]


def scheduler(step_seconds: float = 0.0, switch_seconds: float = 0.0, *, lane_seconds: float = 0.0) -> Scheduler:
    costs = Costs()
    if step_seconds:
        for work in (1.0, 4.0):
            costs.observe(StepTaken(step_seconds + lane_seconds * (work - 1), int(work), work))
    if switch_seconds:
        costs.observe(BlendSwitched(switch_seconds, 1))
    return Scheduler(costs, FairShares(), 4)


def aboard(plan: Plan) -> list[str]:
    return [t.job_id for t in plan.advance]


def test_nothing_to_do_is_an_empty_plan() -> None:
    assert scheduler().plan([], None, 0.0) == Plan()


def test_the_oldest_leads_and_takes_its_batch_key_along_up_to_the_lanes() -> None:
    candidates = [candidate(f"b{i}", "b", arrived=2.0 + i) for i in range(6)] + [candidate("a", "a", arrived=9.0)]
    assert aboard(scheduler().plan(candidates, None, 20.0)) == ["b0", "b1", "b2", "b3"]


def test_a_higher_class_takes_the_next_step_and_lower_canvases_of_its_key_ride_along() -> None:
    candidates = [
        candidate("low", begun=True),
        candidate("other", "x", begun=True),
        candidate("high", "", priority=Priority.HIGH),
    ]
    assert aboard(scheduler().plan(candidates, BatchHold(key("x"), 0.0), 0.0)) == ["high", "low"]


def test_no_preemption_inside_a_class() -> None:
    candidates = [candidate("old", "x", arrived=0.0), candidate("begun", "y", begun=True, arrived=5.0)]
    assert aboard(scheduler().plan(candidates, BatchHold(key("y"), 5.0), 6.0)) == ["begun"]


def test_newcomers_join_midway_while_the_hold_lasts() -> None:
    candidates = [
        candidate("begun", begun=True, steps_left=3),
        candidate("new", arrived=3.0),
        candidate("other", "x", arrived=1.0),
    ]
    assert aboard(scheduler().plan(candidates, BatchHold(key(), 0.0), 3.9)) == ["begun", "new"]
    assert aboard(scheduler().plan(candidates, BatchHold(key(), 0.0), 4.0)) == ["begun"]


def test_tenants_take_turns_by_work_received() -> None:
    fair = scheduler()
    fair.shares.present(["a", "b"])
    fair.shares.charge("a", 5.0)
    candidates = [candidate("a1", "x", arrived=0.0), candidate("b1", "y", tenant="b", arrived=9.0)]
    assert aboard(fair.plan(candidates, None, 10.0)) == ["b1"]


def test_a_far_adapter_does_not_block_others() -> None:
    candidates = [candidate("far", adapters_ready=False), candidate("near", "x", arrived=1.0)]
    assert aboard(scheduler().plan(candidates, None, 2.0)) == ["near"]


def test_a_blend_that_is_dear_to_change_is_kept_for_the_next_leader_but_not_for_long() -> None:
    candidates = [candidate("old", "x", arrived=0.0), candidate("same", "on", arrived=1.0)]
    hold = BatchHold(key("on"), 2.0)
    assert aboard(scheduler(switch_seconds=0.3).plan(candidates, hold, 4.0)) == ["same"]
    assert aboard(scheduler(switch_seconds=0.3).plan(candidates, hold, 4.5)) == ["old"]
    assert aboard(scheduler(switch_seconds=0.01).plan(candidates, hold, 4.0)) == ["old"]


def test_late_jobs_are_dropped_and_hopeless_ones_make_way() -> None:
    candidates = [
        candidate("late", deadline=5.0),
        candidate("hopeless", "x", deadline=10.5),
        candidate("begun", "y", deadline=10.5, begun=True),
    ]
    plan = scheduler(step_seconds=1.0).plan(candidates, None, 5.0)
    assert set(plan.drop) == {"late", "hopeless"}
    assert aboard(plan) == ["begun"]


def test_an_estimate_alone_never_empties_an_idle_device() -> None:
    plan = scheduler(step_seconds=100.0).plan([candidate("slow", deadline=10.0)], None, 5.0)
    assert not plan.drop
    assert aboard(plan) == ["slow"]


@pytest.mark.parametrize(("deadline", "together"), [(11.0, False), (21.0, True), (9.0, True)])
def test_nobody_is_made_late_by_company(deadline: float, together: bool) -> None:
    """Ten steps: 10 s alone, 20 s in company; at 9 s it is late either way."""
    candidates = [candidate("begun", begun=True, deadline=deadline), candidate("new")]
    plan = scheduler(step_seconds=1.0, lane_seconds=1.0).plan(candidates, BatchHold(key(), 0.0), 0.0)
    assert (aboard(plan) == ["begun", "new"]) is together


def test_nobody_passed_by_is_made_late() -> None:
    candidates = [
        candidate("begun", begun=True),
        candidate("older", "x", arrived=0.0, deadline=20.5),
        candidate("new", arrived=1.0),
    ]
    plan = scheduler(step_seconds=1.0, lane_seconds=0.9).plan(candidates, BatchHold(key(), 0.0), 0.0)
    assert aboard(plan) == ["begun"]


def test_no_blend_starves_behind_a_popular_one() -> None:
    """An endless stream of one blend, each image ten steps of 0.1 s, and one image of another."""
    rules = scheduler(step_seconds=0.1, switch_seconds=5.0)
    now, hold, candidates, rare = 0.0, None, [candidate("hot-0", "hot")], candidate("rare", "rare", arrived=0.05)
    for n in range(1, 200):
        plan = rules.plan([*candidates, rare], hold, now)
        if any(t.job_id == "rare" for t in plan.advance):
            break
        now, hold = now + 0.1, plan.hold
        stepped = {t.job_id: replace(t, begun=True, steps_left=t.steps_left - 1) for t in plan.advance}
        candidates = [t for t in (stepped.get(t.job_id, t) for t in candidates) if t.steps_left]
        candidates.append(candidate(f"hot-{n}", "hot", arrived=now))
    else:
        pytest.fail("the rare blend never got its turn")
    assert now <= rules.hold_seconds + 1.2


def test_who_changes_its_key_half_way_does_not_wait_for_all_newcomers_of_the_old_one() -> None:
    """Such as a picture that a refiner takes over, while others come one after another to be begun."""
    rules, hold, now = scheduler(), BatchHold(key(), 0.0), 0.0
    changed = candidate("changed", "refiner", begun=True, steps_left=2)
    others = [candidate("first", begun=True, steps_left=5)]
    while aboard(plan := rules.plan([changed, *others], hold, now)) != ["changed"]:
        assert plan.hold is not None
        hold, now = plan.hold, now + 0.5
        others = [replace(one, begun=True, steps_left=one.steps_left - 1) for one in plan.advance if one.steps_left > 1]
        others.append(candidate(f"new at {now}", arrived=now, steps_left=5))
        assert now < 10.0
