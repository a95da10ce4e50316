"""The real line, admission and scheduler against a simulated device; `python -m tests.jobs.simulation` prints a table.

A step of `lanes` guided images takes 28 ms x (0.22 + 0.78 x lanes), an encode 10 ms, a decode 40 ms; requests come
by a Poisson process for 100 blends of Zipf popularity: 80 % one image of 30 steps, 10 % four, 10 % one of 8 steps
without guidance. A request is worth something only within 10 s of its arrival.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from sdxl_gateway.core.events import BlendSwitched, StageTimed, StepTaken
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.recipe import Blend, BlendPart, Recipe
from sdxl_gateway.jobs.engine_slot import Assignment
from sdxl_gateway.jobs.estimate import Estimate
from sdxl_gateway.jobs.queue import FairQueue
from sdxl_gateway.scheduling.costs import Costs, step_work
from sdxl_gateway.scheduling.fair_share import FairShares
from sdxl_gateway.worker.active_job import ActiveJob
from sdxl_gateway.worker.course import Course
from sdxl_gateway.worker.scheduler import BatchHold, Scheduler
from tests.kit import recipes

STEP_SECONDS, ENCODE_SECONDS, DECODE_SECONDS = 0.028, 0.010, 0.040
CAPACITY_PER_SECOND = 0.97
SLO_SECONDS = 10.0
BLENDS = 100
MAX_LANES = 4
WORK_OF_A_LANE = 2 * 1024 * 1024 / 1e6


def step_seconds(work: float) -> float:
    return STEP_SECONDS * (0.22 + 0.78 * work / WORK_OF_A_LANE)


@cache
def _recipe(blend: int, steps: int, count: int, guided: bool) -> Recipe:
    return recipes.recipe(
        checkpoint="sdxl",
        blend=Blend.of([BlendPart(f"{blend:03}", 1.0, 1.0)]),
        width=1024,
        height=1024,
        steps=steps,
        guidance_scale=5.0 if guided else 1.0,
        count=count,
    )


def requests(load: float, number: int, seed: int) -> list[Job]:
    """Jobs in order of arrival, at that share of what the device can do one job at a time."""
    chance = random.Random(seed)
    weights = [1 / rank for rank in range(1, BLENDS + 1)]
    now, jobs = 0.0, []
    for n in range(number):
        now += chance.expovariate(load * CAPACITY_PER_SECOND)
        blend = chance.choices(range(BLENDS), weights)[0]
        steps, count, guided = chance.choices([(30, 1, True), (30, 4, True), (8, 1, False)], [8, 1, 1])[0]
        recipe = _recipe(blend, steps, count, guided)
        jobs.append(Job(f"{n:05}", recipe, arrived=now, deadline=now + SLO_SECONDS))
    return jobs


@dataclass
class Outcome:
    """What became of the offered requests."""

    offered: int
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    dropped: int = 0
    switches: int = 0
    longest_wait_seconds: float = 0.0
    waits: dict[str, list[float]] = field(default_factory=dict)

    @property
    def share_in_time(self) -> float:
        return sum(latency <= SLO_SECONDS for latency in self.latencies) / self.offered

    def latency(self, quantile: float) -> float:
        return sorted(self.latencies)[min(int(quantile * len(self.latencies)), len(self.latencies) - 1)]


@dataclass
class Canvas:
    """As much of a canvas as the scheduler sees."""

    steps_total: int
    steps_done: int = 0
    batch_key: int = 0
    warnings: tuple[str, ...] = ()


class Device:
    """The product's line, admission, window and scheduler, with arithmetic in place of an engine."""

    def __init__(
        self,
        jobs: Sequence[Job],
        switch_seconds: float,
        *,
        admission: bool = True,
        window: int = 8,
        slower: float = 1.0,
    ) -> None:
        self.outcome = Outcome(len(jobs))
        self._coming = list(reversed(jobs))
        self._switch_seconds = switch_seconds
        self._admission = admission
        self._window = window
        self._slower = slower
        self._queue = FairQueue(10**9, lanes=MAX_LANES)
        self._estimate = Estimate(MAX_LANES)
        self._costs: Costs = self._estimate.costs
        self._shares = FairShares()
        self._scheduler = Scheduler(self._costs, self._shares, MAX_LANES)
        self._held: dict[str, ActiveJob[Canvas]] = {}
        self._given: dict[str, Assignment] = {}
        self._hold: BatchHold | None = None
        self._weights: object = None
        self.now = 0.0

    def run(self) -> Outcome:
        while self._coming or self._held or len(self._queue):
            if not self._held and not len(self._queue):
                self.now = max(self.now, self._coming[-1].arrived)
            self._arrivals()
            self._advance()
        return self.outcome

    def _arrivals(self) -> None:
        while self._coming and self._coming[-1].arrived <= self.now:
            job = self._coming.pop()
            if self._admission and self._held and self._too_late(job):
                self.outcome.refused += 1
            else:
                self._queue.put(job)
            self._give_out()

    def _too_late(self, job: Job) -> bool:
        ahead = self._queue.ahead_of(job, self._estimate.seconds)
        ahead += sum(g.share_left * self._estimate.job_seconds(g.job) for g in self._given.values())
        return self.now + ahead + self._estimate.job_seconds(job) > job.deadline

    def _give_out(self) -> None:
        while (job := self._queue.take(lambda _: self._images() < self._window)) is not None:
            self._held[job.id] = ActiveJob(job, Course(job, lambda _: None, lambda: 0.0), adapters_ready=True)
            self._given[job.id] = Assignment(job)

    def _images(self) -> int:
        return sum(given.images_left for given in self._given.values())

    def _advance(self) -> None:
        candidates = [candidate for held in self._held.values() for candidate in held.candidates()]
        plan = self._scheduler.plan(candidates, self._hold, self.now)
        self._hold = plan.hold
        for job_id in plan.drop:
            self.outcome.dropped += 1
            self._over(job_id)
        for candidate in plan.advance:
            if not candidate.begun:
                self._begin(self._held[candidate.job_id], candidate.index)
                self._shares.charge(candidate.tenant, candidate.work * candidate.steps_left, candidate.weight)
        if plan.advance:
            self._step([(self._held[t.job_id], t.index) for t in plan.advance])
        self._give_out()

    def _begin(self, held: ActiveJob[Canvas], index: int) -> None:
        if not held.started:
            held.started = True
            waited = self.now - held.job.arrived
            self.outcome.longest_wait_seconds = max(self.outcome.longest_wait_seconds, waited)
            self.outcome.waits.setdefault(held.job.tenant, []).append(waited)
        held.canvases[index] = Canvas(held.job.recipe.steps)
        self._spend(StageTimed("encode", ENCODE_SECONDS))

    def _step(self, aboard: list[tuple[ActiveJob[Canvas], int]]) -> None:
        recipe = aboard[0][0].job.recipe
        if self._weights != recipe.blend.unet_key:
            self._weights = recipe.blend.unet_key
            self.outcome.switches += 1
            self._spend(BlendSwitched(self._switch_seconds, 722))
        work = step_work(recipe) * len(aboard)
        self._spend(StepTaken(step_seconds(work), len(aboard), work))
        for held, index in aboard:
            canvas = held.canvases[index]
            canvas.steps_done += 1
            self._given[held.job.id].steps_done[index] = canvas.steps_done
            if canvas.steps_done == canvas.steps_total:
                self._finish(held, index)

    def _finish(self, held: ActiveJob[Canvas], index: int) -> None:
        self._spend(StageTimed("decode", DECODE_SECONDS))
        held.stepped.add(index)
        held.painted(index)
        self._given[held.job.id].painted += 1
        if held.all_painted:
            self.outcome.latencies.append(self.now - held.job.arrived)
            self._over(held.job.id)

    def _over(self, job_id: str) -> None:
        del self._held[job_id], self._given[job_id]

    def _spend(self, measured: StepTaken | BlendSwitched | StageTimed) -> None:
        measured = replace(measured, seconds=measured.seconds * self._slower)
        self._costs.observe(measured)
        self.now += measured.seconds


def job_seconds(job: Job) -> float:
    """A job alone, its images together, the blend in place."""
    recipe = job.recipe
    steps = recipe.steps * step_seconds(step_work(recipe) * recipe.count)
    return steps + recipe.count * (ENCODE_SECONDS + DECODE_SECONDS)


def first_come(jobs: Sequence[Job], switch_seconds: float, *, admission: bool) -> Outcome:
    """One job at a time in order of arrival; with admission, refused at once when it would be late (known exactly)."""
    outcome, free_at, on = Outcome(len(jobs)), 0.0, None
    for job in jobs:
        switch = switch_seconds if job.recipe.blend != on else 0.0
        begins = max(free_at, job.arrived)
        if admission and begins + switch + job_seconds(job) > job.deadline:
            outcome.refused += 1
            continue
        outcome.switches += job.recipe.blend != on
        outcome.longest_wait_seconds = max(outcome.longest_wait_seconds, begins - job.arrived)
        free_at, on = begins + switch + job_seconds(job), job.recipe.blend
        outcome.latencies.append(free_at - job.arrived)
    return outcome


def table(number: int, seed: int) -> Iterator[str]:
    yield "policy                    switch  load  in time  p50 s  p99 s  wait s  refused  dropped  switches"
    for switch_seconds in (0.010, 0.5):
        for load in (0.6, 0.8, 0.95, 1.2):
            jobs = requests(load, number, seed)
            for name, outcome in (
                ("first come", first_come(jobs, switch_seconds, admission=False)),
                ("first come + admission", first_come(jobs, switch_seconds, admission=True)),
                ("ours", Device(jobs, switch_seconds).run()),
            ):
                yield (
                    f"{name:24}{switch_seconds * 1000:5.0f} ms{load:6}{outcome.share_in_time:9.1%}"
                    f"{outcome.latency(0.5):7.1f}{outcome.latency(0.99):7.1f}{outcome.longest_wait_seconds:8.1f}"
                    f"{outcome.refused:9}{outcome.dropped:9}{outcome.switches:10}"
                )


if __name__ == "__main__":
    print("\n".join(table(4000, 1)))
