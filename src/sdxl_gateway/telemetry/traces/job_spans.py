"""Makes the spans of a job from its events: admission, paint with queue and load, each image's stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sdxl_gateway.core.events import Failed, Finished, JobAccepted, StageEnded, Started
from sdxl_gateway.core.trace import Trace
from sdxl_gateway.telemetry.traces.span import Span


@dataclass(slots=True)
class JobTold:
    """One traced job, `accepted` at that time (unix seconds)."""

    job: JobAccepted
    accepted: float
    started: float | None = None
    stages: list[StageEnded] = field(default_factory=list)

    def hear(self, event: Started | StageEnded) -> None:
        """Note an event of the job, except its last one."""
        if isinstance(event, StageEnded):
            self.stages.append(event)
        else:
            self.started = self.job.arrived + event.waited_seconds

    def spans(self, last: Finished | Failed, now: float) -> Iterator[Span]:
        """All spans, once; the job's own trace is that of its painting."""
        place = self.job.trace
        if place is None:
            return
        error = type(last.error).__name__ if isinstance(last, Failed) else ""
        beside = replace(place.child(), parent_id=place.parent_id)
        yield Span("admission", beside, self.job.arrived, self.accepted)
        yield Span("paint", place, self.accepted, now, self._about(), error=error)
        yield Span("queue", place.child(), self.accepted, max(self.started or now, self.accepted))
        for index in sorted({stage.index for stage in self.stages if stage.index is not None}):
            yield from self._image(place.child(), index)
        for stage in self.stages:
            if stage.index is None:
                yield _stage(place, stage)

    def _image(self, place: Trace, index: int) -> Iterator[Span]:
        own = [stage for stage in self.stages if stage.index == index]
        began, ended = min(stage.began for stage in own), max(stage.ended for stage in own)
        yield Span("image", place, began, ended, {"image.index": index})
        for stage in own:
            yield _stage(place, stage)

    def _about(self) -> dict[str, str | int | float]:
        recipe = self.job.recipe
        return {
            "job.id": self.job.job_id,
            "tenant": self.job.tenant,
            "checkpoint": recipe.checkpoint,
            "loras": ",".join(self.job.loras),
            "images": recipe.count,
            "steps": recipe.steps,
            "width": recipe.width,
            "height": recipe.height,
        }


def _stage(parent: Trace, stage: StageEnded) -> Span:
    return Span(stage.stage, parent.child(), stage.began, stage.ended, links=stage.mates)
