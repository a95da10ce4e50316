"""Takes a number of pieces, keeps that many page-locked and ready, so that loads need not lock memory during steps.

CUDA's driver launches no kernels while it locks memory, milliseconds for a piece. A thread replaces pieces taken from
the stock, pausing for about a step's time after each: whatever is loaded, a step is delayed by one of them at most.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Condition, Thread

import torch
from torch import Tensor

log = logging.getLogger(__name__)

PIECE_BYTES = 16 * 2**20
READY = 24
"""In pieces: as much as two typical LoRAs take."""
PAUSE_SECONDS = 0.05


def page_locked(size_bytes: int) -> Tensor:
    """(size_bytes,) uint8 that a CUDA device can copy from asynchronously; torch reuses freed blocks where it can."""
    return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)


def pause_for_a_step() -> None:
    """About as long as a step of SDXL takes."""
    time.sleep(PAUSE_SECONDS)


class Stock:
    """Page-locked pieces, none until `keep` is called; from any thread."""

    def __init__(self, pause: Callable[[], None] = pause_for_a_step) -> None:
        self._pause = pause
        self._ready: list[Tensor] = []
        self._wanted = 0
        self._changed = Condition()
        self._thread: Thread | None = None

    def keep(self, pieces: int, begin: Callable[[], None] = lambda: None) -> None:
        """Keep that many ready from now on; the thread that locks them calls `begin` first."""
        with self._changed:
            self._wanted = pieces
        if self._thread is None:
            self._thread = Thread(target=self._fill, args=(begin,), name="page-locker", daemon=True)
            self._thread.start()

    def take(self, most: int) -> list[Tensor]:
        """At most that many pieces of PIECE_BYTES, fewer if the stock has no more."""
        with self._changed:
            taken = self._ready[:most]
            del self._ready[:most]
            self._changed.notify_all()
        return taken

    def _fill(self, begin: Callable[[], None]) -> None:
        begin()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._ready) < self._wanted)
                self._add(page_locked(PIECE_BYTES))
                self._pause()
        except RuntimeError as error:
            log.warning("host memory can no longer be page-locked in advance; loading LoRAs may delay steps: %s", error)

    def _add(self, piece: Tensor) -> None:
        with self._changed:
            self._ready.append(piece)
            self._changed.notify_all()


stock = Stock()
