"""Job: a recipe with everything that is not about pixels: whose it is, how urgent, until when."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.trace import Trace


@dataclass(frozen=True, slots=True)
class Job:
    """`partial_images` looks at each running picture are wanted.

    `weight` is the tenant's: of two that both want much, one of weight 2 is given twice as much as one of weight 1.
    `arrived` and `deadline` are unix seconds, so that they mean the same in a store and on another machine. One that
    is `admitted` was accepted before it came here: it is never turned away because others wait. `trace` is its span.
    `manifests` are, by sha256, those of checkpoints that an engine elsewhere has to have from the bucket first.
    """

    id: str
    recipe: Recipe
    inputs: Inputs = NO_INPUTS
    partial_images: int = 0
    tenant: str = "anonymous"
    priority: Priority = Priority.NORMAL
    weight: float = 1.0
    arrived: float = 0.0
    deadline: float = float("inf")
    admitted: bool = False
    trace: Trace | None = None
    manifests: tuple[str, ...] = ()

    def on_steady_clock(self) -> Job:
        """The job as the thread that paints it counts: in `time.monotonic()` seconds of this process.

        From here on a wall clock that is set moves neither the deadline nor any interval.
        """
        shift = time.monotonic() - time.time()
        return replace(self, arrived=self.arrived + shift, deadline=self.deadline + shift)
