from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.core.events import StepTaken
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.jobs.estimate import Estimate
from sdxl_gateway.jobs.queue import LOOK_AHEAD, FairQueue, QueueFull, TenantQueueFull
from sdxl_gateway.scheduling.demand import Demand
from tests.kit.jobs import job


def order(line: FairQueue) -> list[str]:
    return [taken(line) for _ in range(len(line))]


def taken(line: FairQueue) -> str:
    one = line.take(lambda _: True)
    assert one is not None
    return one.id


def named(name: str, **changes: object) -> Job:
    return replace(job(arrived=float(len(name))), id=name, **changes)  # type: ignore[arg-type]


def test_the_line_is_bounded_except_for_those_who_come_back() -> None:
    line = FairQueue(2)
    line.put(named("1"))
    line.put(named("2"))
    with pytest.raises(QueueFull):
        line.put(named("3"))
    first = line.take(lambda _: True)
    assert first is not None
    line.put(named("3"))
    line.put_back(first)
    assert len(line) == 3
    assert order(line) == ["1", "2", "3"]


def test_higher_classes_first() -> None:
    line = FairQueue(9)
    for name, priority in (("low", Priority.LOW), ("normal", Priority.NORMAL), ("high", Priority.HIGH)):
        line.put(named(name, priority=priority))
    assert order(line) == ["high", "normal", "low"]


def test_a_class_that_may_not_go_lets_a_higher_one_pass() -> None:
    line = FairQueue(9)
    line.put(named("normal"))
    assert line.take(lambda priority: priority is Priority.HIGH) is None
    line.put(named("high", priority=Priority.HIGH))
    taken = line.take(lambda priority: priority is Priority.HIGH)
    assert taken is not None
    assert taken.id == "high"


def anyone(_: Priority) -> bool:
    return True


def test_who_had_better_wait_is_passed_by_and_keeps_the_place() -> None:
    line = FairQueue(99)
    for i in range(4):
        line.put(named(f"a{i}"))
        line.put(named(f"b{i}", tenant="b"))
    asked: list[str] = []

    def suits(one: Job) -> Job | None:
        asked.append(one.id)
        return one if one.id == "b1" else None

    taken = line.take_first(anyone, suits)
    assert taken is not None
    assert (taken.id, asked) == ("b1", ["a0", "b0", "a1", "b1"])
    assert order(line) == ["a0", "b0", "a1", "b2", "a2", "b3", "a3"], "a0 is still the first"


def test_only_the_first_few_are_looked_at_in_each_class() -> None:
    line = FairQueue(99)
    for i in range(2 * LOOK_AHEAD):
        line.put(named(f"n{i}"))
    line.put(named("low", priority=Priority.LOW))
    asked: list[str] = []
    assert line.take_first(anyone, lambda one: asked.append(one.id)) is None
    assert asked == [*(f"n{i}" for i in range(LOOK_AHEAD)), "low"]
    assert len(line) == 2 * LOOK_AHEAD + 1


def test_a_thousand_of_one_tenant_and_ten_of_another_alternate() -> None:
    line = FairQueue(2000)
    for i in range(1000):
        line.put(named(f"a{i}"))
    for i in range(10):
        line.put(named(f"b{i}", tenant="b"))
    first = order(line)[:20]
    assert sum(name.startswith("b") for name in first) == 10


def test_who_comes_back_after_a_pause_is_owed_nothing() -> None:
    line = FairQueue(2000)
    for i in range(100):
        line.put(named(f"a{i}"))
    for _ in range(50):
        line.take(lambda _: True)
    for i in range(100):
        line.put(named(f"b{i}", tenant="b"))
    assert 9 <= sum(name.startswith("b") for name in order(line)[:20]) <= 11


def test_who_asks_anew_after_each_answer_is_next_each_time() -> None:
    line = FairQueue(2000)
    for i in range(100):
        line.put(named(f"flood{i}", tenant="flood"))
    line.take(lambda _: True)
    line.put(named("lone0", tenant="lone"))
    assert [taken(line), taken(line)] == ["lone0", "flood1"]
    line.put(named("lone1", tenant="lone"))
    assert [taken(line), taken(line)] == ["lone1", "flood2"]


@pytest.mark.parametrize("many", [2, 5])
def test_many_who_ask_anew_after_each_answer_leave_a_flood_its_share(many: int) -> None:
    line = FairQueue(2000)
    for i in range(100):
        line.put(named(f"flood{i}", tenant="flood"))
    for i in range(many):
        line.put(named(f"{i}", tenant=f"lone{i}"))
    served: list[str] = []
    for _ in range(6 * (many + 1)):
        now = taken(line)
        if served and not served[-1].startswith("flood"):
            line.put(named(served[-1], tenant=f"lone{served[-1]}"))
        served.append(now)
    assert sum(name.startswith("flood") for name in served) >= 5
    assert all(served.count(f"{i}") >= 5 for i in range(many))


def test_ahead_are_higher_classes_ones_own_and_an_equal_share_of_others() -> None:
    line = FairQueue(99)
    for i in range(5):
        line.put(named(f"other{i}", tenant="b"))
    line.put(named("mine"))
    line.put(named("urgent", tenant="c", priority=Priority.HIGH))
    line.put(named("later", priority=Priority.LOW))
    assert line.ahead_of(named("new"), lambda demand: demand.jobs) == 1 + 1 + 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(Priority), st.integers(1, 4)), max_size=30))
def test_all_who_enter_leave_once(entries: list[tuple[str, Priority, int]]) -> None:
    line, jobs = FairQueue(99), [job(tenant=tenant, priority=p, count=n) for tenant, p, n in entries]
    for one in jobs:
        line.put(one)
    gone = [line.remove(one.id) for one in jobs[::3]]
    assert [g.id for g in gone if g] == [one.id for one in jobs[::3]]
    assert line.remove("never here") is None
    left = order(line)
    assert sorted(left) == sorted({one.id for one in jobs} - {g.id for g in gone if g})
    assert len(line) == 0


def test_a_tenant_of_twice_the_weight_is_given_twice_as_much() -> None:
    line = FairQueue(2000)
    for i in range(60):
        line.put(named(f"heavy-{i}", tenant="heavy", weight=2.0))
        line.put(named(f"light-{i}", tenant="light"))
    first = order(line)[:60]
    assert sum(name.startswith("heavy") for name in first) == 40


def test_one_tenant_may_not_fill_the_line() -> None:
    line = FairQueue(5, tenant_capacity=3)
    for i in range(3):
        line.put(named(f"a{i}", tenant="a"))
    with pytest.raises(TenantQueueFull):
        line.put(named("a3", tenant="a", priority=Priority.HIGH))
    for i in range(2):
        line.put(named(f"b{i}", tenant="b"))
    with pytest.raises(QueueFull) as full:
        line.put(named("c", tenant="c"))
    assert not isinstance(full.value, TenantQueueFull)
    assert line.others_than("a") == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.5, 1.0, 3.0])), min_size=1, max_size=25))
def test_what_stands_before_a_newcomer_is_what_is_served_before_it(entries: list[tuple[str, float]]) -> None:
    """For tenants that come to an empty line together, within a job of each."""
    weights = dict(entries)
    line = FairQueue(1000)
    for place, (tenant, _) in enumerate(entries):
        line.put(named(f"{place}", tenant=tenant, weight=weights[tenant]))
    newcomer = named("new", tenant="a", weight=weights.get("a", 1.0))
    ahead = line.ahead_of(newcomer, lambda demand: demand.jobs)
    line.put(newcomer)
    assert abs(order(line).index("new") - ahead) <= len(weights)


@pytest.mark.parametrize("waiting", [10, 1000])
def test_a_newcomer_is_told_its_place_and_enters_without_a_look_at_who_waits(
    waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, looks = FairQueue(2000), list[Demand]()
    for i in range(waiting):
        line.put(named(f"{i}", tenant="ab"[i % 2]))
    real = Demand.of

    def looked(recipe: Recipe, lanes: int) -> Demand:
        looks.append(real(recipe, lanes))
        return looks[-1]

    monkeypatch.setattr(Demand, "of", looked)
    newcomer = named("new", tenant="a")
    line.ahead_of(newcomer, lambda demand: demand.work)
    line.put(newcomer)
    assert len(looks) == 2


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.integers(1, 30)), min_size=1, max_size=30))
def test_a_line_knows_what_all_its_jobs_ask_for(entries: list[tuple[str, int, int]]) -> None:
    """Whoever comes, leaves or comes back: the seconds of the sum are the sum of the seconds."""
    estimate = Estimate(4)
    for lanes in (1, 4, 1, 4):
        estimate.costs.observe(StepTaken(1.0 + 0.5 * lanes, lanes, float(lanes)))
    line = FairQueue(99, lanes=4)
    jobs = [job(tenant=tenant, count=count, steps=steps) for tenant, count, steps in entries]
    for one in jobs:
        line.put(one)
    for one in jobs[::3]:
        line.remove(one.id)
    taken = line.take(lambda _: True)
    if taken is not None:
        line.put_back(taken)
    left = [one for place, one in enumerate(jobs) if place % 3]
    newcomer = named("new", tenant="a", priority=Priority.LOW)
    assert line.ahead_of(newcomer, estimate.seconds) == pytest.approx(sum(map(estimate.job_seconds, left)))
