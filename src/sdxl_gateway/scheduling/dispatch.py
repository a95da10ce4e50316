"""Takes how each engine stands towards a job, gives the one to paint it: a warm one, until it is too busy for that.

An engine is warm where nothing of the job's model has to be brought to its device first. It keeps a job until another
engine, what that would have to bring included, would probably begin it sooner: so a blend that many ask for spreads to
further engines when waiting for the warm one costs more than warming another, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Warmth = Literal["blend", "checkpoint", "cold"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One engine as one job finds it; `images` are those it still has to paint before the job's.

    `wait_seconds` pass until it is free for the job, `warming_seconds` more, at most, until the blend is on, and then
    `paint_seconds`, which only tell equals apart: whoever seems slow would else never be given what shows it is not.
    `fetching_seconds` pass where the checkpoint is yet to come from a bucket.
    """

    wait_seconds: float = 0.0
    warming_seconds: float = 0.0
    paint_seconds: float = 0.0
    checkpoint_warm: bool = True
    blend_warm: bool = True
    images: int = 0
    fetching_seconds: float = 0.0

    @property
    def begins_seconds(self) -> float:
        """From now until it would begin the job; bringing is counted whole, though it happens beside others' steps:
        what is brought displaces what others will want again."""
        return self.wait_seconds + self.warming_seconds + self.fetching_seconds

    @property
    def warmth(self) -> Warmth:
        """How much of the job's model is on its device."""
        return "cold" if not self.checkpoint_warm else "blend" if self.blend_warm else "checkpoint"


def choose(standings: Sequence[Standing]) -> int:
    """The index of the one that the job should go to, of at least one; where that has no room yet, wait for it.

    Equals, as all are while nothing was measured, are told apart by what they have warm, their images and their speed.
    """
    return min(range(len(standings)), key=lambda index: _order(standings[index]))


def _order(one: Standing) -> tuple[float, bool, bool, int, float]:
    return one.begins_seconds, not one.checkpoint_warm, not one.blend_warm, one.images, one.paint_seconds
