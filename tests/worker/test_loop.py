"""The loop over a fake engine that refuses, raises and is lost: every job ends in exactly one last event."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from queue import SimpleQueue

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_gateway.backends.fake_engine import FakeCanvas, FakeEngine
from sdxl_gateway.core.errors import (
    AdapterRefused,
    Cancelled,
    DeadlineExceeded,
    DoesNotFit,
    EngineFault,
    StillLoading,
    Unavailable,
)
from sdxl_gateway.core.events import Failed, Finished, JobEvent, Painted, Previewed, Progressed, Started
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.ports import DeviceLost
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Blend, BlendPart, Phase, Recipe
from sdxl_gateway.ipc.messages import Cancel, Stop, Submit
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.worker.loop import Commands, Loop, WakeUp
from tests.kit.jobs import job


class Stage:
    """A loop with its own clock; commands are given at chosen steps, and Stop when nothing is left."""

    def __init__(
        self,
        at_step: dict[int, Callable[[Stage], None]] | None = None,
        max_lanes: int = 4,
        engine: type[FakeEngine] = FakeEngine,
        load_wait_seconds: float = math.inf,
    ) -> None:
        self.now = 0.0
        self.steps = 0
        self.at_step = at_step or {}
        self.told: list[JobEvent] = []
        self.commands: Commands = SimpleQueue()
        self.engine = engine(sleep=self._step_over)
        self.costs = Costs()
        self.loop: Loop[FakeCanvas] = Loop(
            self.engine,
            self.commands,
            self.told.append,
            costs=self.costs,
            max_lanes=max_lanes,
            load_wait_seconds=load_wait_seconds,
            clock=lambda: self.now,
        )

    def _step_over(self, seconds: float) -> None:
        self.now += seconds
        self.steps += 1
        if act := self.at_step.get(self.steps):
            act(self)

    def run(self, *jobs: Job) -> None:
        for one in jobs:
            self.commands.put(Submit(one))
        while True:
            self.commands.put(Stop()) if not self._open(jobs) else None
            if not self.loop.advance():
                return

    def _open(self, jobs: tuple[Job, ...]) -> set[str]:
        return {j.id for j in jobs} - set(self.ends())

    def ends(self) -> dict[str, JobEvent]:
        return {e.job_id: e for e in self.told if isinstance(e, Finished | Failed)}

    def error(self, one: Job) -> Exception:
        end = self.ends()[one.id]
        assert isinstance(end, Failed), end
        return end.error


def test_a_job_tells_its_life_in_order() -> None:
    stage, one = Stage(), job("step-seconds=1", steps=4, partial_images=1, arrived=-2.0)
    stage.run(one)
    assert [type(e) for e in stage.told] == [
        Started, Progressed, Progressed, Previewed, Progressed, Progressed, Painted, Finished,
    ]  # fmt: skip
    assert stage.told[0] == Started(one.id, 2.0)
    assert stage.told[-1] == Finished(one.id, 4.0)
    assert stage.engine.pinned == 0


def test_a_warning_is_told_once() -> None:
    stage, one = Stage(), job("long", count=3)
    stage.run(one)
    assert stage.ends()[one.id] == Finished(one.id, 0.0, ("cut short",))


@pytest.mark.parametrize(
    ("steps", "asked", "shown"), [(30, 3, [8, 15, 22]), (4, 3, [1, 2, 3]), (2, 3, [1]), (1, 3, [])]
)
def test_previews_are_spread_evenly(steps: int, asked: int, shown: list[int]) -> None:
    stage = Stage()
    stage.run(job(steps=steps, partial_images=asked))
    looks = [e for e in stage.told if isinstance(e, Previewed)]
    assert [e.picture.pixels[0] for e in looks] == shown
    assert [e.partial_index for e in looks] == list(range(len(shown)))


def test_a_job_joins_another_midway_in_one_batch() -> None:
    late = job("late", steps=3)
    stage = Stage({2: lambda s: s.commands.put(Submit(late))})
    stage.run(job("early", steps=5), late)
    assert ["early", "late"] in stage.engine.batches
    assert all(isinstance(end, Finished) for end in stage.ends().values())


def test_a_picture_moves_to_the_batch_of_its_second_model_half_way() -> None:
    plain, refining = job("plain", steps=4), job("refining", steps=4)
    refiner = Phase("refiner", "1", Blend.of([BlendPart("fine", 1.0, 0.0)]), from_step=2)
    refining = replace(refining, recipe=replace(refining.recipe, later_phases=(refiner,)))
    stage = Stage()
    blends: list[object] = []
    stage.at_step = {step: lambda s: blends.append(s.engine.blend) for step in range(1, 9)}
    stage.run(plain, refining)
    assert stage.engine.batches == [["plain", "refining"]] * 2 + [["plain"]] * 2 + [["refining"]] * 2
    assert blends == [()] * 4 + [(("fine", 1.0),)] * 2
    assert all(isinstance(end, Finished) for end in stage.ends().values())


class Choosy(FakeCanvas):
    """Knows of its own prompt what its recipe's key does not tell."""

    @property
    def batch_key(self) -> Hashable:
        return super().batch_key, self.recipe.prompt


class ChoosyEngine(FakeEngine):
    def begin(self, recipe: Recipe, index: int, inputs: Inputs) -> FakeCanvas:
        return Choosy(recipe, index)


def test_canvases_that_will_not_share_a_step_take_it_one_after_another() -> None:
    stage = Stage(engine=ChoosyEngine)
    stage.run(job("a", count=2, steps=2), job("b", steps=2), job("raise-in-step", steps=2))
    assert stage.engine.batches[:3] == [["a", "a"], ["b"], ["raise-in-step"]]
    assert stage.engine.batches[3:] == [["a", "a"], ["b"]]
    assert [type(end) for end in stage.ends().values()] == [Failed, Finished, Finished]


def test_a_higher_class_waits_one_step() -> None:
    urgent = job("urgent", steps=2, blend="x", priority=Priority.HIGH)
    stage = Stage({3: lambda s: s.commands.put(Submit(urgent))})
    slow = job("slow", steps=9)
    stage.commands.put(Submit(slow))
    while slow.id not in stage.ends():
        stage.loop.advance()
    assert stage.engine.batches[3:5] == [["urgent"]] * 2
    assert stage.engine.batches[5:] == [["slow"]] * 6


def test_cancel_and_deadline_act_between_steps() -> None:
    one, two = job("step-seconds=1", steps=50), job("step-seconds=1", steps=50, blend="x", deadline=7.0)
    stage = Stage({3: lambda s: s.commands.put(Cancel(one.id))})
    stage.run(one, two)
    assert isinstance(stage.error(one), Cancelled)
    assert isinstance(stage.error(two), DeadlineExceeded)
    assert stage.engine.batches == [["step-seconds=1"]] * 7


def test_a_job_waits_for_its_model_so_long_and_others_go_on() -> None:
    stage = Stage(load_wait_seconds=3.0)
    stuck, other = job("never-near"), job("step-seconds=1", steps=6)
    stage.run(stuck, other)
    error = stage.error(stuck)
    assert isinstance(error, StillLoading)
    assert error.retry_after_seconds == 3.0
    assert isinstance(stage.ends()[other.id], Finished)
    ended_at = stage.told.index(stage.ends()[stuck.id])
    assert sum(isinstance(event, Progressed) for event in stage.told[:ended_at]) == 3
    assert stage.engine.pinned == 0


def test_a_loop_with_nothing_else_to_do_wakes_up_for_it() -> None:
    told: list[JobEvent] = []
    commands: Commands = SimpleQueue()
    loop: Loop[FakeCanvas] = Loop(FakeEngine(), commands, told.append, costs=Costs(), load_wait_seconds=0.05)
    commands.put(Submit(job("never-near")))
    while not told:
        assert loop.advance()
    assert isinstance(told[0], Failed)
    assert isinstance(told[0].error, StillLoading)


def test_a_job_whose_adapters_never_come_ends_at_its_deadline() -> None:
    stage, stuck = Stage(), job("never-near", deadline=-1.0)
    stage.run(stuck)
    assert isinstance(stage.error(stuck), DeadlineExceeded)


@pytest.mark.parametrize("phase", ["prefetch", "begin", "step", "preview", "finish", "release"])
def test_a_fault_stays_with_its_job(phase: str) -> None:
    stage, bad, good = Stage(), job(f"raise-in-{phase}", partial_images=1), job(blend="x")
    stage.run(bad, good)
    assert isinstance(stage.ends()[good.id], Finished)
    if phase == "release":
        assert isinstance(stage.ends()[bad.id], Finished)
    else:
        assert isinstance(stage.error(bad), EngineFault)
        assert "secret" not in str(stage.error(bad))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_fault_in_a_shared_step_ends_only_whose_it_is(place: int) -> None:
    prompts = ["good-0", "good-1"]
    prompts.insert(place, "raise-in-step")
    stage, jobs = Stage(), [job(prompt, steps=4, arrived=float(i)) for i, prompt in enumerate(prompts)]
    bad = jobs[place]
    good = [one for one in jobs if one is not bad]
    stage.run(*jobs)
    assert stage.engine.batches[0] == prompts
    assert isinstance(stage.error(bad), EngineFault)
    for one in good:
        assert isinstance(stage.ends()[one.id], Finished)
        assert [e.step for e in stage.told if isinstance(e, Progressed) and e.job_id == one.id] == [1, 2, 3, 4]
    assert stage.engine.batches[-1] == ["good-0", "good-1"]


def test_a_job_of_several_pictures_ends_with_the_first_that_fails() -> None:
    stage, bad, good = Stage(), job("raise-in-step", count=3), job("good")
    stage.run(bad, good)
    assert isinstance(stage.error(bad), EngineFault)
    assert isinstance(stage.ends()[good.id], Finished)
    assert stage.engine.batches.count(["raise-in-step"]) == 1


class Cramped(FakeEngine):
    """Has room for one picture at a time."""

    def step(self, canvases: Sequence[FakeCanvas]) -> None:
        if len(canvases) > 1:
            raise DoesNotFit("no room")
        super().step(canvases)


def test_where_a_batch_does_not_fit_each_picture_is_stepped_alone() -> None:
    stage, jobs = Stage(engine=Cramped), [job("a"), job("b"), job("c", count=2)]
    stage.run(*jobs)
    assert all(isinstance(end, Finished) for end in stage.ends().values())
    assert stage.engine.batches == [["a"], ["b"], ["c"], ["c"]] * 3


def test_the_age_of_the_loop_is_that_of_its_present_piece_of_work() -> None:
    ages: list[float] = []
    stage = Stage({step: lambda s: ages.append(s.loop.age_seconds()) for step in range(1, 9)}, engine=Cramped)
    stage.run(job("step-seconds=1", steps=2, count=4))
    assert ages == [1.0] * 8
    assert stage.loop.age_seconds() == 0.0


def test_a_device_lost_in_a_shared_step_ends_the_loop() -> None:
    stage, jobs = Stage(), [job("fine"), job("lose-in-step")]
    with pytest.raises(DeviceLost):
        stage.run(*jobs)
    assert {type(stage.error(one)) for one in jobs} == {Unavailable}
    assert len(stage.engine.batches) == 1


def test_a_refused_adapter_fails_its_job_with_the_reason() -> None:
    stage, bad = Stage(), job("refuse")
    stage.run(bad)
    assert isinstance(stage.error(bad), AdapterRefused)


@pytest.mark.parametrize("phase", ["begin", "step", "preview", "finish"])
def test_a_lost_device_ends_the_loop_after_telling(phase: str) -> None:
    stage, doomed, waiting = Stage(max_lanes=1), job(f"lose-in-{phase}", partial_images=1), job(blend="x")
    with pytest.raises(DeviceLost):
        stage.run(doomed, waiting)
    assert isinstance(stage.error(doomed), Unavailable)
    assert waiting.id not in stage.ends()


def test_stop_tells_everyone() -> None:
    stage, jobs = Stage(), [job(blend=str(i)) for i in range(3)]
    for one in jobs:
        stage.commands.put(Submit(one))
    stage.commands.put(Stop())
    stage.loop.run()
    assert {type(stage.error(one)) for one in jobs} == {Unavailable}


def test_a_thousand_jobs_do_not_crowd_out_ten() -> None:
    many, few = [job("many", blend="m") for _ in range(200)], [job("few", blend="f", tenant="b") for _ in range(10)]
    stage = Stage(max_lanes=1)
    stage.run(*many, *few)
    order = [batch[0] for batch in stage.engine.batches]
    last_of_few = max(i for i, who in enumerate(order) if who == "few")
    assert Counter(order[: last_of_few + 1])["many"] <= 3 * 11


MISCHIEF = ["", "", "", "refuse", "never-near", "step-seconds=1"] + [
    f"raise-in-{phase}" for phase in ("prefetch", "begin", "step", "preview", "finish", "release")
]


class Late(FakeEngine):
    """Its pictures and looks are under way when they are asked for; `arrive` has the oldest come, or fail."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        super().__init__(sleep=sleep)
        self.coming: list[tuple[Future[Picture], Callable[[FakeCanvas], Future[Picture]], FakeCanvas]] = []

    def preview(self, canvas: FakeCanvas) -> Future[Picture]:
        return self._later(super().preview, canvas)

    def finish(self, canvas: FakeCanvas) -> Future[Picture]:
        return self._later(super().finish, canvas)

    def _later(self, make: Callable[[FakeCanvas], Future[Picture]], canvas: FakeCanvas) -> Future[Picture]:
        self.coming.append((Future(), make, canvas))
        return self.coming[-1][0]

    def arrive(self) -> None:
        if not self.coming:
            return
        future, make, canvas = self.coming.pop(0)
        try:
            future.set_result(make(canvas).result())
        except Exception as error:
            future.set_exception(error)


def test_others_take_steps_while_a_picture_comes() -> None:
    stage = Stage(engine=Late, max_lanes=1)
    late, other = job("late", steps=1), job("other", steps=3, blend="x")
    for one in (late, other):
        stage.commands.put(Submit(one))
    for _ in range(4):
        stage.loop.advance()
    assert stage.engine.batches == [["late"], ["other"], ["other"], ["other"]]
    assert stage.ends() == {}
    assert isinstance(stage.engine, Late)
    stage.engine.arrive()
    stage.engine.arrive()
    stage.loop.advance()
    assert list(stage.ends()) == [late.id, other.id]
    assert stage.engine.pinned == 0


@pytest.mark.parametrize("engine", [FakeEngine, Late])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_job_ends_exactly_once_whatever_happens(engine: type[FakeEngine], data: st.DataObject) -> None:
    jobs = data.draw(
        st.lists(
            st.builds(
                job,
                st.sampled_from(MISCHIEF),
                blend=st.sampled_from(["", "x", "y"]),
                steps=st.integers(1, 5),
                count=st.integers(1, 5),
                partial_images=st.integers(0, 2),
                tenant=st.sampled_from("ab"),
                priority=st.sampled_from(Priority),
                deadline=st.sampled_from([3.0, 10.0, 30.0]),
                arrived=st.just(0.0),
            ),
            max_size=12,
        )
    )
    cancels = data.draw(st.lists(st.tuples(st.integers(1, 30), st.sampled_from(jobs)), max_size=5)) if jobs else []
    stage = Stage(
        {step: lambda s, one=one: s.commands.put(Cancel(one.id)) for step, one in cancels},  # type: ignore[misc]
        engine=engine,
    )
    for one in jobs:
        stage.commands.put(Submit(one))
    while stage._open(tuple(jobs)):
        stage.commands.put(WakeUp())
        stage.loop.advance()
        stage.now += 0.5
        if isinstance(stage.engine, Late):
            stage.engine.arrive()
    last = Counter(e.job_id for e in stage.told if isinstance(e, Finished | Failed))
    assert last == Counter(j.id for j in jobs)
    for one in jobs:
        mine = [e for e in stage.told if e.job_id == one.id]
        assert isinstance(mine[-1], Finished | Failed)
        if isinstance(mine[-1], Finished):
            assert sorted(e.index for e in mine if isinstance(e, Painted)) == list(range(one.recipe.count))
    assert stage.engine.pinned == 0
