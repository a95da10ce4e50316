"""Takes work that ends a picture, has the device do it beside the steps, gives a future: the loop's thread never waits.

On CUDA a thread of its own waits for the device and, where there is room for the memory of two streams, the work has
a stream of its own. That one goes before the steps': whoever is nearly done is to be done first. On other devices all
is done when the call returns: a second thread would only take the first one's cores.
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
"""A stream's priority: lower numbers go before the steps' 0."""

Beside = Callable[[], AbstractContextManager[None]]


class Sideline:
    """One for each device. In the context that `beside` gives, work is issued; `threaded` is who waits for it."""

    def __init__(self, beside: Beside = nullcontext, *, threaded: bool = False) -> None:
        self.beside = beside
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="finishing") if threaded else None

    @classmethod
    def of(cls, placement: Placement) -> Sideline:
        """As there is room. A VAE whose weights come and go stays with the thread that moves them."""
        if placement.device.type != "cuda" or placement.mode != "fast":
            return cls()
        return cls(stream_beside(placement.device) if placement.decodes_beside else nullcontext, threaded=True)

    def follow(self, wait: Callable[[], T]) -> Future[T]:
        """What `wait` gives, once what was issued before is done; one after the other."""
        return done(wait()) if self._thread is None else self._thread.submit(wait)

    def close(self) -> None:
        """Once all is done that was begun."""
        if self._thread is not None:
            self._thread.shutdown()


def stream_beside(device: torch.device) -> Beside:
    """A stream whose work begins once all is done that the present one was given so far."""
    stream = new_stream(device, FIRST)

    @contextmanager
    def beside() -> Iterator[None]:
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            yield

    return beside
