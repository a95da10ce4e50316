"""An engine as the dispatcher sees it: its assigned jobs, its load, and what it has on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sdxl_gateway.catalog.checkpoint_folder.versions import versioned
from sdxl_gateway.core.events import Held, JobEvent, MemoryHeld, Painted, Progressed, Started
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.ipc.messages import NOBODY, Command, OthersHold, Ready
from sdxl_gateway.jobs.estimate import Estimate
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.detail import closing_steps


@dataclass(slots=True)
class Assignment:
    """A job that is assigned to an engine, and its progress."""

    job: Job
    started: bool = False
    painted: int = 0
    steps_done: dict[int, int] = field(default_factory=dict)

    def follow(self, event: JobEvent) -> None:
        """Update the progress."""
        match event:
            case Started():
                self.started = True
            case Progressed(index=index, step=step):
                self.steps_done[index] = step
            case Painted():
                self.painted += 1
            case _:
                pass

    @property
    def images_left(self) -> int:
        """The number of the job's images that are not painted yet."""
        return self.job.recipe.count - self.painted

    @property
    def share_left(self) -> float:
        """The share of the job's steps still to do, between 1 (nothing done) and 0."""
        recipe = self.job.recipe
        steps = recipe.denoise_steps + closing_steps(recipe)
        return 1.0 - sum(self.steps_done.values()) / (steps * recipe.count)


@dataclass(slots=True)
class EngineSlot:
    """One engine as the dispatcher sees it, under an id of its own. `ready` is None while it cannot paint.

    `held_at` is since when its machine is too hot or too full for steps, None if it is not. `adapters` and
    `checkpoints`, by version, are on its device; `costs` were measured on its device only. `others` is its work for
    other gateways. `stored` are the manifests of checkpoints fetched there from the bucket; jobs that wait for another
    one to be fetched take none of its room.
    """

    engine_id: str
    send: Callable[[Command], None]
    ready: Ready | None = None
    assigned: dict[str, Assignment] = field(default_factory=dict)
    adapters: frozenset[str] = frozenset()
    checkpoints: frozenset[str] = frozenset()
    costs: Costs = field(default_factory=Costs)
    lost_at: float | None = None
    held_at: float | None = None
    others: OthersHold = NOBODY
    stored: frozenset[str] = frozenset()

    def images(self, priority: Priority) -> int:
        """The number of images still to paint of that class or higher, without jobs that wait for a checkpoint."""
        counted = (g for g in self.assigned.values() if g.job.priority <= priority and not self.lacks(g.job))
        own = sum(given.images_left for given in counted)
        return own + (self.others.images[priority] if self.others.images else 0)

    def seconds_before(self, priority: Priority, estimate: Estimate) -> float:
        """Seconds of assigned work that it does before a job of that class."""
        before = (given for given in self.assigned.values() if given.job.priority <= priority)
        own = sum(given.share_left * estimate.job_seconds(given.job, self.costs) for given in before)
        return own + (self.others.seconds[priority] if self.others.seconds else 0.0)

    def note_memory(self, held: MemoryHeld) -> None:
        """Update what is on the device."""
        self.adapters = frozenset(held.warm.get("vram", ()))
        self.checkpoints = frozenset(held.checkpoints.get("vram", ()))

    def note_held(self, held: Held, now: float) -> float:
        """Update whether the engine is held; how many seconds it was, if it resumes now, else 0."""
        since = self.held_at
        self.held_at = None if held.reason is None else now if since is None else since
        return 0.0 if since is None or held.reason is not None else now - since

    def is_lost(self, at: float) -> None:
        """The engine's process ended, so nothing is on the device; `at` is steady time."""
        self.ready, self.lost_at, self.held_at, self.others = None, at, None, NOBODY
        self.adapters = self.checkpoints = frozenset()

    def adapters_missing(self, job: Job) -> int:
        """The number of the job's adapters neither on the device nor being loaded for another job."""
        coming = (g.job.recipe.blend.digests for g in self.assigned.values())
        return len(set(job.recipe.blend.digests).difference(self.adapters, *coming))

    def lacks(self, job: Job) -> bool:
        """Whether a checkpoint of the job has yet to be fetched from the bucket."""
        return not self.stored.issuperset(job.manifests)

    def is_fetching(self, job: Job) -> bool:
        """Whether what it lacks is already being fetched for another job."""
        coming = (given.job.manifests for given in self.assigned.values())
        return self.stored.union(*coming).issuperset(job.manifests)

    def has_checkpoint(self, job: Job) -> bool:
        """Whether the job's checkpoint is on the device or being loaded for another job; true if none were reported."""
        coming = (_checkpoint(given.job) for given in self.assigned.values())
        return not self.checkpoints or _checkpoint(job) in self.checkpoints.union(coming)


def _checkpoint(job: Job) -> str:
    return versioned(job.recipe.checkpoint, job.recipe.checkpoint_digest)
