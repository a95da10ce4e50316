"""Decides how many replicas there should be, from the predicted wait (a policy of Ray Serve)."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Protocol

WAIT_SECONDS = "wait_seconds"
"""The name of the replicas' metric: the longest wait that a gateway predicts."""


class Standing(Protocol):
    """The part of Serve's context that is used."""

    target_num_replicas: int
    aggregated_metrics: Mapping[str, Mapping[Any, float]] | None
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int


class ByPredictedWait:
    """As many replicas as can finish all waiting work within `target_seconds`.

    The work is the predicted wait times the number of replicas. Serve's own delays keep the number from oscillating.
    """

    def __init__(self, target_seconds: float) -> None:
        self._target_seconds = target_seconds

    def __call__(self, now: Standing) -> tuple[int, dict[str, Any]]:
        """The number, within its bounds, and an empty state."""
        waits = (now.aggregated_metrics or {}).get(WAIT_SECONDS, {}).values()
        wanted = ceil(max(waits, default=0.0) * now.target_num_replicas / self._target_seconds)
        return max(now.capacity_adjusted_min_replicas, min(now.capacity_adjusted_max_replicas, wanted)), {}
