"""Keeps Python's garbage collector, which stops every thread while it looks at all objects, from stopping a step."""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 2, 1_000)
"""Objects made until the youngest are looked at, and times that happens until older ones are, and all.

A LoRA that is loaded makes thousands that stay: the middle generation is to be small, and the oldest left alone.
"""


def settle() -> None:
    """What is there now is there to stay, and is not looked at again; what it refers to is freed as ever."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
