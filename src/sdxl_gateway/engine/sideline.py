"""Takes the work that ends a picture, runs it concurrently with steps, gives a future: the loop's thread never waits.

On CUDA a separate thread waits for the device and, where memory for two streams fits, the work runs on a stream of its
own, of higher priority than the steps': a picture nearly finished is finished first. On other devices everything is
done when the call returns: a second thread would only compete for the same cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch

from sdxl_gateway.core.futures import done
from sdxl_gateway.engine.models.placement import Placement
from sdxl_gateway.engine.streams import new_stream

T = TypeVar("T")

FIRST = -1
"""A stream priority; lower numbers run first, and steps have 0."""

Beside = Callable[[], AbstractContextManager[None]]


class Sideline:
    """One for each device. Work is issued inside the context `beside()`; if `threaded`, a thread waits for it."""

    def __init__(self, beside: Beside = nullcontext, *, threaded: bool = False) -> None:
        self.beside = beside
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="finishing") if threaded else None

    @classmethod
    def of(cls, placement: Placement) -> Sideline:
        """With its own stream if memory allows. An offloaded VAE stays on the loop's thread, which moves weights."""
        if placement.device.type != "cuda" or placement.mode != "fast":
            return cls()
        return cls(stream_beside(placement.device) if placement.decodes_beside else nullcontext, threaded=True)

    def follow(self, wait: Callable[[], T]) -> Future[T]:
        """The result of `wait`, which blocks until issued work is done; calls run one after another."""
        return done(wait()) if self._thread is None else self._thread.submit(wait)

    def close(self) -> None:
        """Waits for all calls of `follow` first."""
        if self._thread is not None:
            self._thread.shutdown()


def stream_beside(device: torch.device) -> Beside:
    """Contexts of one high-priority stream; what is issued in one runs after the current stream's work so far."""
    stream = new_stream(device, FIRST)

    @contextmanager
    def beside() -> Iterator[None]:
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            yield

    return beside
