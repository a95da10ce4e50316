"""Takes connections by their address, tells which a server still has room for, and says so in the log now and then."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)

# Refused ones that are told why; beyond them a flood is hung up on without a word.
MAX_LINGERING = 32
LOG_SECONDS = 1.0


class Door:
    """Counts the connections of one server; 0 is no limit."""

    def __init__(
        self, max_connections: int = 0, max_per_address: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max = max_connections
        self._max_per_address = max_per_address
        self._clock = clock
        self._inside: Counter[str] = Counter()
        self._lingering = 0
        self._refused = 0
        self._logged = float("-inf")

    def enter(self, address: str) -> bool:
        """Whether there is room; who was let in has to `leave`."""
        if self._is_full(self._inside.total(), self._max) or self._is_full(
            self._inside[address], self._max_per_address
        ):
            self._note_refused(address)
            return False
        self._inside[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Once for each that was let in."""
        self._inside[address] -= 1
        if self._inside[address] <= 0:
            del self._inside[address]

    def begin_lingering(self) -> bool:
        """Whether there is time to tell one that was refused why; who is told has to `end_lingering`."""
        if self._lingering >= MAX_LINGERING:
            return False
        self._lingering += 1
        return True

    def end_lingering(self) -> None:
        """Once for each that was told."""
        self._lingering -= 1

    @staticmethod
    def _is_full(count: int, limit: int) -> bool:
        return 0 < limit <= count

    def _note_refused(self, address: str) -> None:
        self._refused += 1
        if self._clock() >= self._logged + LOG_SECONDS:
            log.warning("%d connections refused, the last from %s: too many are open", self._refused, address)
            self._logged, self._refused = self._clock(), 0
