"""Takes what one engine was given and said; gives its load: which jobs it holds, which blends it has warm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sdxl_gateway.core.events import MemoryHeld
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.ipc.messages import Command, Ready
from sdxl_gateway.scheduling.detail import closing_steps


@dataclass(slots=True)
class Assignment:
    """A job an engine holds, and what of it is still to do."""

    job: Job
    started: bool = False
    painted: int = 0
    steps_done: dict[int, int] = field(default_factory=dict)

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

    `held_at` is when its machine was last too hot or too full for steps, None while it is not.
    """

    engine_id: str
    send: Callable[[Command], None]
    ready: Ready | None = None
    assigned: dict[str, Assignment] = field(default_factory=dict)
    warm: frozenset[str] = frozenset()
    lost_at: float | None = None
    held_at: float | None = None

    def images(self, priority: Priority) -> int:
        """Images still to paint, of that class or a higher one."""
        return sum(g.images_left for g in self.assigned.values() if g.job.priority <= priority)

    def note_memory(self, held: MemoryHeld) -> None:
        """Which adapters are on the device from now on."""
        self.warm = frozenset(held.warm.get("vram", ()))

    def has_warm(self, job: Job) -> bool:
        """Its adapters are on the device, or on their way there for another job."""
        wanted = set(job.recipe.blend.digests)
        return wanted <= self.warm or any(wanted <= set(g.job.recipe.blend.digests) for g in self.assigned.values())


def with_room(slots: Sequence[EngineSlot], priority: Priority, window_images: int) -> list[EngineSlot]:
    """Engines that can paint and may be given another job of that class.

    Only images of that class or a higher one fill the window, so a higher class is never kept out by a lower one.
    """
    return [slot for slot in slots if slot.ready is not None and slot.images(priority) < window_images]


def choose(slots: Sequence[EngineSlot], job: Job) -> EngineSlot:
    """One that has the job's adapters near, and among those the least to do. `slots` is not empty."""
    return min(slots, key=lambda slot: (not slot.has_warm(job), slot.images(job.priority)))
