"""Takes what a job that comes now would wait, gives how many replicas there should be (a policy of Ray Serve's)."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Protocol

WAIT_SECONDS = "wait_seconds"
"""What replicas call the longest wait that a gateway predicts."""


class Standing(Protocol):
    """What of Serve's context is looked at."""

    target_num_replicas: int
    aggregated_metrics: Mapping[str, Mapping[Any, float]] | None
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int


class ByPredictedWait:
    """As many replicas as get done with all there is within `target_seconds`.

    Work is what is waited for times those who do it. Serve's own delays keep the number from following every wave.
    """

    def __init__(self, target_seconds: float) -> None:
        self._target_seconds = target_seconds

    def __call__(self, now: Standing) -> tuple[int, dict[str, Any]]:
        """The number, within its bounds, and no state to keep."""
        waits = (now.aggregated_metrics or {}).get(WAIT_SECONDS, {}).values()
        wanted = ceil(max(waits, default=0.0) * now.target_num_replicas / self._target_seconds)
        return max(now.capacity_adjusted_min_replicas, min(now.capacity_adjusted_max_replicas, wanted)), {}
