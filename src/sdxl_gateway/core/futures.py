"""A future that already has its value, for work that is usually asynchronous."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def done(value: T) -> Future[T]:
    """A future that is done, with that value."""
    future: Future[T] = Future()
    future.set_result(value)
    return future
