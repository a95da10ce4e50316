"""Tunes Python's garbage collector, which stops all threads while it scans objects, so that no step is delayed."""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 2, 1_000)
"""The collector's thresholds for its three generations.

Loading a LoRA makes thousands of lasting objects: the middle generation is to be small, and the oldest left alone.
"""


def settle() -> None:
    """Exclude all objects of now from collection; they are still freed by their reference counts."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
