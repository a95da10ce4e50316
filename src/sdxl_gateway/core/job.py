"""Job: a recipe, with its owner, priority and deadline."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.trace import Trace


@dataclass(frozen=True, slots=True)
class Job:
    """`partial_images` is the number of previews of each image.

    `weight` is the tenant's: of two busy tenants, one of weight 2 gets twice as much as one of weight 1. `arrived` and
    `deadline` are unix seconds, which mean the same in a store and on another machine. A job that is `admitted` was
    accepted before: it is never refused because the queue is full. `trace` is its span. `manifests` are the digests
    (sha256) of the manifests of checkpoints that a remote engine must fetch from the bucket first.
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
        """The job with its times as `time.monotonic()` seconds of this process.

        From here on, setting the wall clock changes neither the deadline nor any interval.
        """
        shift = time.monotonic() - time.time()
        return replace(self, arrived=self.arrived + shift, deadline=self.deadline + shift)
