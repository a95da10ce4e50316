"""Takes a number of pieces, keeps that many page-locked ones ready, so that no load asks the driver beside a step.

CUDA's driver launches nothing while it locks memory, milliseconds for a piece. Pieces that are taken from the stock are
locked anew by a thread that takes a step's time after each: whatever is loaded, a step waits for one of them at most.
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
"""Pieces: as much as two usual LoRAs take."""
PAUSE_SECONDS = 0.05


def page_locked(size_bytes: int) -> Tensor:
    """(size_bytes,) uint8 that a CUDA device can copy from by itself; torch takes it from what was let go of before."""
    return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)


def a_step_passes() -> None:
    """Or some, on a small model."""
    time.sleep(PAUSE_SECONDS)


class Stock:
    """Empty until it is told to `keep` some; from any thread."""

    def __init__(self, pause: Callable[[], None] = a_step_passes) -> None:
        self._pause = pause
        self._ready: list[Tensor] = []
        self._wanted = 0
        self._changed = Condition()
        self._thread: Thread | None = None

    def keep(self, pieces: int, begin: Callable[[], None] = lambda: None) -> None:
        """Have so many lie ready from now on; the thread that locks them calls `begin` first."""
        with self._changed:
            self._wanted = pieces
        if self._thread is None:
            self._thread = Thread(target=self._fill, args=(begin,), name="page-locker", daemon=True)
            self._thread.start()

    def take(self, most: int) -> list[Tensor]:
        """So many pieces of PIECE_BYTES, or all there are."""
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
            log.warning("no more host memory can be page-locked ahead: %s", error)

    def _add(self, piece: Tensor) -> None:
        with self._changed:
            self._ready.append(piece)
            self._changed.notify_all()


stock = Stock()
