"""Takes a block of code, gives what it cost of a processor."""

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
    """Of this process; a collection of what earlier tests left, which takes a second, does not fall into it."""
    spent = Spent()
    gc.disable()
    began = time.process_time()
    try:
        yield spent
    finally:
        spent.seconds = time.process_time() - began
        gc.enable()
