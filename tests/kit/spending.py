"""Measures the processor time of a block of code."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Spent:
    seconds: float = 0.0


@contextmanager
def spending() -> Iterator[Spent]:
    """The time of this process; garbage of earlier tests, whose collection takes a second, is not collected in it."""
    spent = Spent()
    gc.disable()
    began = time.process_time()
    try:
        yield spent
    finally:
        spent.seconds = time.process_time() - began
        gc.enable()
