"""A listener that is defined outside the product, an audit trail, hears the whole sequence of a request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import Cancelled, EngineFault
from sdxl_gateway.core.events import (
    Event,
    Failed,
    Finished,
    JobAccepted,
    JobEvent,
    Measured,
    Painted,
    Previewed,
    Progressed,
    Started,
)
from sdxl_gateway.gateway.events import Accepted, Done, Presented
from tests.kit.gateway import CALLER, ask, gateway_kit


@dataclass
class AuditTrail:
    """One line for each accepted job: who asked for what, and how it ended."""

    lines: list[str] = field(default_factory=list)
    events: list[JobAccepted | JobEvent] = field(default_factory=list)
    engines: set[str] = field(default_factory=set)
    _open: dict[str, JobAccepted] = field(default_factory=dict)

    def on_event(self, event: Event) -> None:
        match event:
            case JobAccepted():
                self._open[event.job_id] = event
                self.events.append(event)
            case Finished(job_id=job_id):
                self._close(job_id, "finished")
                self.events.append(event)
            case Failed(job_id=job_id, error=error):
                self._close(job_id, type(error).__name__)
                self.events.append(event)
            case Started() | Progressed() | Previewed() | Painted():
                self.events.append(event)
            case Measured(engine_id=engine_id):
                self.engines.add(engine_id)
            case _:
                pass

    def _close(self, job_id: str, outcome: str) -> None:
        job = self._open.pop(job_id)
        self.lines.append(f"{job.tenant}/{job.end_user}: {job.recipe.prompt} with {','.join(job.loras)}: {outcome}")


async def test_the_whole_life_of_a_job_in_order(tmp_path: Path) -> None:
    trail, before = AuditTrail(), time.time()
    async with gateway_kit(tmp_path, listeners=[trail.on_event]) as store:
        items = await store.paint("a fox", model="demo+sunset", user="ann", partial_images=1, steps=2)
    assert [type(event) for event in trail.events] == [
        JobAccepted, Started, Progressed, Previewed, Progressed, Painted, Finished,
    ]  # fmt: skip
    accepted, first = trail.events[0], items[0]
    assert isinstance(accepted, JobAccepted)
    assert isinstance(first, Accepted)
    assert {event.job_id for event in trail.events} == {first.job_id}
    assert before <= accepted.arrived <= time.time()
    assert trail.lines == ["me/ann: a fox with sunset: finished"]
    assert trail.engines == {"0"}


async def test_each_way_to_end_is_told_once(tmp_path: Path) -> None:
    trail = AuditTrail()
    async with gateway_kit(tmp_path, listeners=[trail.on_event]) as store:
        await store.paint("good")
        with pytest.raises(EngineFault):
            await store.paint("raise-in-step")
        leaving = store.gateway.paint(ask("step-seconds=0.01", steps=150), CALLER)
        await anext(leaving)
        await leaving.aclose()
        with pytest.raises(EngineFault):
            await store.paint("raise-in-begin")
    last = [event for event in trail.events if isinstance(event, Finished | Failed)]
    assert [type(event.error) for event in last if isinstance(event, Failed)] == [EngineFault, Cancelled, EngineFault]
    assert len({event.job_id for event in last}) == len(last) == len(trail.lines) == 4


async def test_a_listener_that_breaks_harms_no_request(tmp_path: Path) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("no")

    trail = AuditTrail()
    async with gateway_kit(tmp_path, listeners=[broken, trail.on_event]) as store:
        items = await store.paint()
    assert isinstance(items[-1], Done)
    assert sum(isinstance(item, Presented) for item in items) == 1
    assert len(trail.lines) == store.count("jobs_total", outcome="finished") == 1
