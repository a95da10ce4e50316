"""The state of a job in the loop: which images wait, which take steps, and which previews are due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.ports import Canvas, CanvasT
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.scheduling.batch_key import BatchKey
from sdxl_gateway.scheduling.costs import mean_work
from sdxl_gateway.scheduling.detail import detail_steps
from sdxl_gateway.worker.course import Course
from sdxl_gateway.worker.scheduler import Candidate


@dataclass(slots=True)
class ActiveJob(Generic[CanvasT]):
    """One job that the loop took at `taken` by its clock.

    `canvases` are the images that are begun and not yet painted, `stepped` those without further steps, painted or not.
    """

    job: Job
    course: Course
    taken: float = 0.0
    prefetch: Future[None] | None = None
    adapters_ready: bool = False
    started: bool = False
    began: float = 0.0
    canvases: dict[int, CanvasT] = field(default_factory=dict)
    stepped: set[int] = field(default_factory=set)
    painted_count: int = 0
    warnings: dict[str, None] = field(default_factory=dict)

    @property
    def all_painted(self) -> bool:
        """Whether all images are painted."""
        return self.painted_count == self.job.recipe.count

    @property
    def wants_steps(self) -> bool:
        """Whether an image has steps to take, and its models and adapters are loaded."""
        return self.adapters_ready and len(self.stepped) < self.job.recipe.count

    @property
    def wants_something(self) -> bool:
        """Whether the job still needs steps, or its models and adapters first; pictures being decoded do not count."""
        return not self.adapters_ready or self.wants_steps

    def waits_until(self, load_wait_seconds: float) -> float:
        """When its wait for models and adapters times out, by the loop's clock."""
        return self.job.deadline if self.adapters_ready else min(self.job.deadline, self.taken + load_wait_seconds)

    def painted(self, index: int) -> None:
        """Image `index` is painted: its canvas is dropped, its warnings are kept."""
        canvas = self.canvases.pop(index)
        self.warnings |= dict.fromkeys(canvas.warnings)
        self.painted_count += 1

    def candidates(self) -> Iterator[Candidate]:
        """A candidate for each image that needs steps."""
        return (self._candidate(index) for index in range(self.job.recipe.count) if index not in self.stepped)

    def _candidate(self, index: int) -> Candidate:
        job, canvas = self.job, self.canvases.get(index)
        steps_done = 0 if canvas is None else canvas.steps_done
        steps_total = _steps_planned(job.recipe) if canvas is None else canvas.steps_total
        return Candidate(
            job_id=job.id,
            index=index,
            key=BatchKey.of(job.recipe, steps_done),
            tenant=job.tenant,
            priority=job.priority,
            arrived=job.arrived,
            deadline=job.deadline,
            work=mean_work(job.recipe, steps_done),
            steps_left=steps_total - steps_done,
            begun=canvas is not None,
            adapters_ready=self.adapters_ready,
            weight=job.weight,
        )

    def partial_due(self, canvas: Canvas) -> int | None:
        """The number of the preview that is due after this step; previews are spread evenly."""
        asked, total = self.job.partial_images, canvas.steps_total
        due = sorted({round(total * (i + 1) / (asked + 1)) for i in range(asked)} - {0, total})
        return due.index(canvas.steps_done) if canvas.steps_done in due else None


def _steps_planned(recipe: Recipe) -> int:
    """The number of steps, counted in those that cost about as much as one of the UNet's."""
    return recipe.denoise_steps + detail_steps(recipe)


@dataclass(slots=True)
class Lane(Generic[CanvasT]):
    """One canvas in the next batch."""

    active: ActiveJob[CanvasT]
    index: int
    canvas: CanvasT = field(init=False)
    steps_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.canvas = self.active.canvases[self.index]
        self.steps_before = self.canvas.steps_done

    @property
    def moved(self) -> bool:
        """Note that the step was taken."""
        return self.canvas.steps_done > self.steps_before


def stepped_together(lanes: Sequence[Lane[CanvasT]]) -> None:
    """Note in the course of each job which other jobs shared its step."""
    traces = [trace for lane in lanes if (trace := lane.active.job.trace) is not None and trace.sampled]
    for lane in lanes if traces else ():
        lane.active.course.stepped_with(lane.index, traces)


@dataclass(frozen=True, slots=True)
class Coming(Generic[CanvasT]):
    """A picture that is being decoded, and what is to be done with it; its job may have ended by then."""

    active: ActiveJob[CanvasT]
    picture: Future[Picture]
    then: Callable[[Picture], None]
