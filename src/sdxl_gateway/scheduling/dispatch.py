"""Chooses the engine for a job: a warm one, unless it is too busy.

An engine is warm if the job's model is on its device already. It gets the job unless another engine would probably
begin it sooner, loading included: so a blend that many ask for spreads to further engines only when waiting for the
warm one costs more than warming another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Warmth = Literal["blend", "checkpoint", "cold"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One engine as a job finds it; `images` are those it has to paint before the job's.

    It is free for the job after `wait_seconds`, has the blend at most `warming_seconds` later, and then needs
    `paint_seconds`, which only decide between equals: an engine that seems slow would otherwise never get a job that
    shows it is not. `fetching_seconds` is the time to fetch the checkpoint from a bucket, if it must be.
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
        """From now until it would begin the job. Loading is counted in full, although it overlaps with steps of other
        jobs: what is loaded displaces what others will need again."""
        return self.wait_seconds + self.warming_seconds + self.fetching_seconds

    @property
    def warmth(self) -> Warmth:
        """How much of the job's model is on its device."""
        return "cold" if not self.checkpoint_warm else "blend" if self.blend_warm else "checkpoint"


def choose(standings: Sequence[Standing]) -> int:
    """The index of the engine that the job should go to, or should wait for if it has no room yet.

    Between equals, as all are before measurements, warmth decides, then the number of images, then speed.
    """
    return min(range(len(standings)), key=lambda index: _order(standings[index]))


def _order(one: Standing) -> tuple[float, bool, bool, int, float]:
    return one.begins_seconds, not one.checkpoint_warm, not one.blend_warm, one.images, one.paint_seconds
