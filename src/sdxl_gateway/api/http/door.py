"""Limits the number of connections, in total and by client address, and logs refusals now and then."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)

# The most refused connections that are told why; in a flood, further ones are closed without an answer.
MAX_LINGERING = 32
LOG_SECONDS = 1.0


class Door:
    """Counts the connections of one server; 0 means no limit."""

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
        """Whether there is room for a connection; if so, `leave` has to be called at its end."""
        if self._is_full(self._inside.total(), self._max) or self._is_full(
            self._inside[address], self._max_per_address
        ):
            self._note_refused(address)
            return False
        self._inside[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Note the end of a connection that was let in."""
        self._inside[address] -= 1
        if self._inside[address] <= 0:
            del self._inside[address]

    def begin_lingering(self) -> bool:
        """Whether a refused connection can be told why; if so, `end_lingering` has to be called afterwards."""
        if self._lingering >= MAX_LINGERING:
            return False
        self._lingering += 1
        return True

    def end_lingering(self) -> None:
        """Note the end of a refused connection."""
        self._lingering -= 1

    @staticmethod
    def _is_full(count: int, limit: int) -> bool:
        return 0 < limit <= count

    def _note_refused(self, address: str) -> None:
        self._refused += 1
        if self._clock() >= self._logged + LOG_SECONDS:
            log.warning("%d connections refused, the last from %s: too many are open", self._refused, address)
            self._logged, self._refused = self._clock(), 0
