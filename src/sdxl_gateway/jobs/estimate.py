"""Takes measured costs and what is held; gives how long a job takes and how long a caller should stay away."""

from __future__ import annotations

import math

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.limits import RETRY_AFTER_SECONDS
from sdxl_gateway.scheduling.costs import Average, Costs, step_work
from sdxl_gateway.scheduling.detail import detail_steps
from sdxl_gateway.scheduling.tiles import tile_count

RETRY_MIN_SECONDS = 1.0
RESTART_GUESS_SECONDS = 10.0
PAUSE_GUESS_SECONDS = 15.0


class Estimate:
    """Seconds, from what this machine was seen to need."""

    def __init__(self, max_lanes: int) -> None:
        self.costs = Costs()
        self.restarts = Average()
        self.pauses = Average()
        self._max_lanes = max_lanes

    def job_seconds(self, job: Job) -> float:
        """Alone on one device, its images sharing steps; 0 when nothing was measured yet."""
        recipe = job.recipe
        full, rest = divmod(recipe.count, self._max_lanes)
        step = full * self._step_seconds(job, self._max_lanes) + self._step_seconds(job, rest)
        apart = self.costs.begin_seconds + self.costs.decode_seconds + tile_count(recipe) * self.costs.tile_seconds
        apart += detail_steps(recipe) * self._step_seconds(job, 1)
        return recipe.denoise_steps * step + recipe.count * apart + self.costs.switch_seconds

    def _step_seconds(self, job: Job, lanes: int) -> float:
        return self.costs.step_seconds(step_work(job.recipe) * lanes) if lanes else 0.0

    def restart_seconds(self) -> float:
        """From losing an engine to having it again."""
        return self.restarts.value if self.restarts.count else RESTART_GUESS_SECONDS

    def pause_seconds(self, held_seconds: float) -> float:
        """How much longer an engine that is held will be, by how long others were."""
        usual = self.pauses.value if self.pauses.count else PAUSE_GUESS_SECONDS
        return max(usual - held_seconds, RETRY_MIN_SECONDS)


def retry_after(seconds: float) -> float:
    """A whole number of seconds that clients accept."""
    return float(math.ceil(min(max(seconds, RETRY_MIN_SECONDS), RETRY_AFTER_SECONDS)))
