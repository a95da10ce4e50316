"""Takes what one engine was given and said; gives its load and how it stands towards a job."""

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
    """A job an engine holds, and what of it is still to do."""

    job: Job
    started: bool = False
    painted: int = 0
    steps_done: dict[int, int] = field(default_factory=dict)

    def follow(self, event: JobEvent) -> None:
        """Notes how far it is by now."""
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
        """Images of the job that are not painted yet."""
        return self.job.recipe.count - self.painted

    @property
    def share_left(self) -> float:
        """Between 1 (nothing done) and 0."""
        recipe = self.job.recipe
        steps = recipe.denoise_steps + closing_steps(recipe)
        return 1.0 - sum(self.steps_done.values()) / (steps * recipe.count)


@dataclass(slots=True)
class EngineSlot:
    """One engine as the dispatcher sees it, under an id of its own. `ready` is None while it cannot paint.

    `held_at` is when its machine was last too hot or too full for steps, None while it is not. `adapters` and
    `checkpoints`, by version, are on its device; `costs` are what its device was measured to cost, not another's.
    `others` is what it does for other gateways. Checkpoints of the manifests `stored` came there from the bucket; what
    waits for another to come takes none of its room.
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
        """Images still to paint, of that class or a higher one, that need not wait for a checkpoint to be fetched."""
        counted = (g for g in self.assigned.values() if g.job.priority <= priority and not self.lacks(g.job))
        own = sum(given.images_left for given in counted)
        return own + (self.others.images[priority] if self.others.images else 0)

    def seconds_before(self, priority: Priority, estimate: Estimate) -> float:
        """What it holds already and paints before a job of that class."""
        before = (given for given in self.assigned.values() if given.job.priority <= priority)
        own = sum(given.share_left * estimate.job_seconds(given.job, self.costs) for given in before)
        return own + (self.others.seconds[priority] if self.others.seconds else 0.0)

    def note_memory(self, held: MemoryHeld) -> None:
        """What is on the device from now on."""
        self.adapters = frozenset(held.warm.get("vram", ()))
        self.checkpoints = frozenset(held.checkpoints.get("vram", ()))

    def note_held(self, held: Held, now: float) -> float:
        """Whether it takes steps from now on; the seconds it took none, where it does again."""
        since = self.held_at
        self.held_at = None if held.reason is None else now if since is None else since
        return 0.0 if since is None or held.reason is not None else now - since

    def is_lost(self, at: float) -> None:
        """Its process ended: nothing is on the device."""
        self.ready, self.lost_at, self.held_at, self.others = None, at, None, NOBODY
        self.adapters = self.checkpoints = frozenset()

    def adapters_missing(self, job: Job) -> int:
        """Of the job's, those neither on the device nor on their way there for another job."""
        coming = (g.job.recipe.blend.digests for g in self.assigned.values())
        return len(set(job.recipe.blend.digests).difference(self.adapters, *coming))

    def lacks(self, job: Job) -> bool:
        """A checkpoint of the job's has yet to be fetched to where the engine is."""
        return not self.stored.issuperset(job.manifests)

    def is_fetching(self, job: Job) -> bool:
        """What it lacks is on its way for another job."""
        coming = (given.job.manifests for given in self.assigned.values())
        return self.stored.union(*coming).issuperset(job.manifests)

    def has_checkpoint(self, job: Job) -> bool:
        """It is on the device, or on its way there for another job; an engine that tells of none has what it takes."""
        coming = (_checkpoint(given.job) for given in self.assigned.values())
        return not self.checkpoints or _checkpoint(job) in self.checkpoints.union(coming)


def _checkpoint(job: Job) -> str:
    return versioned(job.recipe.checkpoint, job.recipe.checkpoint_digest)
