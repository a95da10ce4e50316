"""Takes measured costs and what is held; gives how long a job takes and how long a caller should stay away."""

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
    """Seconds, from what this machine was seen to need; `costs` are those of all its engines."""

    def __init__(self, max_lanes: int) -> None:
        self.costs = Costs()
        self.restarts = Average()
        self.pauses = Average()
        self.fetches = Average()
        self._max_lanes = max_lanes

    def job_seconds(self, job: Job, costs: Costs | None = None) -> float:
        """Alone on one device, its images sharing steps; 0 when nothing was measured yet."""
        return self.seconds(Demand.of(job.recipe, self._max_lanes), costs)

    def seconds(self, demand: Demand, costs: Costs | None = None) -> float:
        """One after another on one device: that of these `costs`, or any while it has not painted yet."""
        costs = costs if costs is not None and costs.known else self.costs
        apart = demand.images * (costs.begin_seconds + costs.decode_seconds) + demand.tiles * costs.tile_seconds
        return costs.steps_seconds(demand.steps, demand.work) + apart + demand.jobs * costs.switch_seconds

    def restart_seconds(self) -> float:
        """From losing an engine to having it again."""
        return self.restarts.value if self.restarts.count else RESTART_GUESS_SECONDS

    def pause_seconds(self, held_seconds: float) -> float:
        """How much longer an engine that is held will be, by how long others were."""
        usual = self.pauses.value if self.pauses.count else PAUSE_GUESS_SECONDS
        return max(usual - held_seconds, RETRY_MIN_SECONDS)

    def fetch_seconds(self) -> float:
        """From asking for a checkpoint that lies in the bucket alone to having it."""
        return self.fetches.value if self.fetches.count else FETCH_GUESS_SECONDS


def retry_after(seconds: float) -> float:
    """A whole number of seconds that clients accept."""
    return float(math.ceil(min(max(seconds, RETRY_MIN_SECONDS), RETRY_AFTER_SECONDS)))
