"""Places jobs on the engines that would begin them first, by measured costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.jobs.engine_slot import EngineSlot
from sdxl_gateway.jobs.estimate import Estimate
from sdxl_gateway.scheduling.dispatch import Standing, Warmth

Choose = Callable[[Sequence[Standing]], int]
"""Returns the index of the engine for a job; the rule is in scheduling.dispatch."""


class Place(NamedTuple):
    """A job and its engine; `warmth` is how much of its model is on the device already."""

    job: Job
    slot: EngineSlot
    warmth: Warmth


class Placing:
    """A snapshot of all engines that can paint, at the steady time `now`; each may hold images up to a window.

    Only images of a job's class or a higher one fill the window, so a higher class is never kept out by a lower one.
    """

    def __init__(
        self, slots: Iterable[EngineSlot], estimate: Estimate, choose: Choose, window_images: int, now: float
    ) -> None:
        self._slots = [slot for slot in slots if slot.ready is not None]
        self._estimate = estimate
        self._choose = choose
        self._window_images = window_images
        self._now = now
        self._passed_by: defaultdict[str, float] = defaultdict(float)

    @property
    def engines(self) -> int:
        """How many engines can paint."""
        return len(self._slots)

    def end_seconds(self, job: Job) -> float:
        """Seconds until its engine would be done with the job and all before it; for the job alone if there is none.

        Fetching is not counted: otherwise the first request for a checkpoint would be refused, time and again.
        """
        if not self._slots:
            return self._estimate.job_seconds(job)
        standings = [self.standing(slot, job) for slot in self._slots]
        chosen = standings[self._choose(standings)]
        return chosen.begins_seconds - chosen.fetching_seconds + chosen.paint_seconds

    def has_room(self, priority: Priority) -> bool:
        """Whether some engine may be assigned a job of that class."""
        return any(self._may_hold(slot, priority) for slot in self._slots)

    def place(self, job: Job) -> Place | None:
        """The job's place; None for a job that is better off waiting for an engine that is full now.

        Its demand then counts as work that this engine has to do before the jobs behind it.
        """
        standings = [self.standing(slot, job) for slot in self._slots]
        chosen = self._choose(standings)
        slot = self._slots[chosen]
        if self._may_hold(slot, job.priority):
            return Place(job, slot, standings[chosen].warmth)
        self._passed_by[slot.engine_id] += standings[chosen].paint_seconds
        return None

    def standing(self, slot: EngineSlot, job: Job) -> Standing:
        """When and how an engine could paint a job."""
        held = 0.0 if slot.held_at is None else self._estimate.pause_seconds(self._now - slot.held_at)
        wait = slot.seconds_before(job.priority, self._estimate) + held + self._passed_by[slot.engine_id]
        missing, has_checkpoint = slot.adapters_missing(job), slot.has_checkpoint(job)
        warming = self._estimate.costs.warming_seconds(checkpoint_warm=has_checkpoint, adapters_missing=missing)
        paint = self._estimate.job_seconds(job, slot.costs)
        fetching = 0.0 if slot.is_fetching(job) else self._estimate.fetch_seconds()
        return Standing(wait, warming, paint, has_checkpoint, not missing, slot.images(job.priority), fetching)

    def _may_hold(self, slot: EngineSlot, priority: Priority) -> bool:
        return slot.images(priority) < self._window_images
