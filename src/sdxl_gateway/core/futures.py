"""Takes a value, gives a future that has it already: for work that may take its time, and this once did not."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def done(value: T) -> Future[T]:
    """Done, with that value."""
    future: Future[T] = Future()
    future.set_result(value)
    return future
