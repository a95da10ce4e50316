"""One simulated GPU: what it holds, what it was given, and how long each thing takes it.

It paints batches: the first job whose adapter is there, with those of its blend and steps that are there too, up to
four images; nobody joins a batch that is under way, so it gains less from a blend that stays than the engine does.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from sdxl_gateway.core.events import StageTimed, StepTaken
from sdxl_gateway.core.job import Job
from sdxl_gateway.scheduling.costs import Costs, step_work

STEP_SECONDS, ENCODE_SECONDS, DECODE_SECONDS, SWITCH_SECONDS = 0.028, 0.010, 0.040, 0.010
FROM_HOST_SECONDS, FROM_DISK_SECONDS, CHECKPOINT_SECONDS = 0.03, 0.4, 2.0
BOOT_SECONDS = 45.0
"""From asking for a card to its first picture."""
WORK_OF_A_LANE = 2 * 1024 * 1024 / 1e6
LANES, WINDOW_IMAGES = 4, 8
NEAR_ADAPTERS, WARM_ADAPTERS = 200, 20


@dataclass(eq=False, slots=True)
class Given:
    """A job a card holds; its adapter is there at `near_at`. `seconds` is what it was expected to take."""

    job: Job
    near_at: float
    seconds: float


class Kept:
    """The last so many that were used."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def use(self, name: str) -> str | None:
        """It is the newest now; gives what had to go for it."""
        self._names[name] = None
        self._names.move_to_end(name)
        return self._names.popitem(last=False)[0] if len(self._names) > self._most else None


@dataclass(eq=False, slots=True)
class Card:
    """`free_at` is when it is expected to be done with all it has."""

    number: int
    checkpoint: str
    line: list[Given] = field(default_factory=list)
    batch: list[Given] = field(default_factory=list)
    images: int = 0
    free_at: float = 0.0
    on: str = ""
    alive: bool = True
    warm: Kept = field(default_factory=lambda: Kept(WARM_ADAPTERS))
    near: Kept = field(default_factory=lambda: Kept(NEAR_ADAPTERS))

    @property
    def has_room(self) -> bool:
        return self.alive and self.images < WINDOW_IMAGES

    def wait_seconds(self, now: float) -> float:
        return max(self.free_at - now, 0.0)

    def next_batch(self, now: float) -> list[Given]:
        """Out of its line; there is something in it."""
        first = min(self.line, key=lambda given: max(given.near_at, now))
        batch, images = [first], first.job.recipe.count
        for given in self.line:
            mate = given is not first and given.near_at <= max(first.near_at, now) and alike(given.job, first.job)
            if mate and images + given.job.recipe.count <= LANES:
                batch.append(given)
                images += given.job.recipe.count
        self.line = [given for given in self.line if given not in batch]
        return batch


def alike(one: Job, other: Job) -> bool:
    """They may share every step."""
    return adapter(one) == adapter(other) and one.recipe.steps == other.recipe.steps


def adapter(job: Job) -> str:
    """The one of its blend."""
    return job.recipe.blend.parts[0].digest


def step_seconds(work: float) -> float:
    return STEP_SECONDS * (0.22 + 0.78 * work / WORK_OF_A_LANE)


def batch_work(batch: list[Given]) -> float:
    """Of one step."""
    return sum(step_work(given.job.recipe) * given.job.recipe.count for given in batch)


def paint_seconds(batch: list[Given], costs: Costs) -> float:
    """With its blend on; `costs` are told what was measured."""
    images, work = sum(given.job.recipe.count for given in batch), batch_work(batch)
    costs.observe(StepTaken(step_seconds(work), images, work))
    for stage, each in (("encode", ENCODE_SECONDS), ("decode", DECODE_SECONDS)):
        costs.observe(StageTimed(stage, each))
    return batch[0].job.recipe.steps * step_seconds(work) + images * (ENCODE_SECONDS + DECODE_SECONDS)
