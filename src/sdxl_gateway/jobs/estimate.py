"""Estimates from measured costs how long jobs take, and when a refused caller should retry."""

from __future__ import annotations

import math

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.limits import RETRY_AFTER_SECONDS
from sdxl_gateway.scheduling.costs import Average, Costs
from sdxl_gateway.scheduling.demand import Demand

RETRY_MIN_SECONDS = 1.0
RESTART_GUESS_SECONDS = 10.0
PAUSE_GUESS_SECONDS = 15.0
FETCH_GUESS_SECONDS = 30.0


class Estimate:
    """Estimates in seconds, from measurements on this machine; `costs` are averages over all its engines."""

    def __init__(self, max_lanes: int) -> None:
        self.costs = Costs()
        self.restarts = Average()
        self.pauses = Average()
        self.fetches = Average()
        self._max_lanes = max_lanes

    def job_seconds(self, job: Job, costs: Costs | None = None) -> float:
        """The time of a job alone on one device, with its images batched; 0 if nothing was measured yet."""
        return self.seconds(Demand.of(job.recipe, self._max_lanes), costs)

    def seconds(self, demand: Demand, costs: Costs | None = None) -> float:
        """The time of a demand on one device, with its own `costs`, or those of all engines until it has painted."""
        costs = costs if costs is not None and costs.known else self.costs
        apart = demand.images * (costs.begin_seconds + costs.decode_seconds) + demand.tiles * costs.tile_seconds
        return costs.steps_seconds(demand.steps, demand.work) + apart + demand.jobs * costs.switch_seconds

    def restart_seconds(self) -> float:
        """The time from losing an engine until it is ready again."""
        return self.restarts.value if self.restarts.count else RESTART_GUESS_SECONDS

    def pause_seconds(self, held_seconds: float) -> float:
        """How much longer an engine will be held that was for `held_seconds`, by the average of earlier times."""
        usual = self.pauses.value if self.pauses.count else PAUSE_GUESS_SECONDS
        return max(usual - held_seconds, RETRY_MIN_SECONDS)

    def fetch_seconds(self) -> float:
        """The time to fetch a checkpoint from the bucket."""
        return self.fetches.value if self.fetches.count else FETCH_GUESS_SECONDS


def retry_after(seconds: float) -> float:
    """The seconds as a whole number, within the bounds that clients accept for Retry-After."""
    return float(math.ceil(min(max(seconds, RETRY_MIN_SECONDS), RETRY_AFTER_SECONDS)))
