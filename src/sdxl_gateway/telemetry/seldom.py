"""Rate-limits warnings that any client can cause: one of a kind per second, with the number of those suppressed."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

SECONDS = 1.0


class Seldom(logging.Filter):
    """A filter for loggers with a few fixed warnings; other levels always pass."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; the next one of its kind has the number of those suppressed."""
        if record.levelno != logging.WARNING:
            return True
        now, text = self._clock(), record.msg
        if now < self._said.get(text, float("-inf")) + SECONDS:
            self._left_out[text] += 1
            return False
        self._said[text] = now
        if others := self._left_out.pop(text, 0):
            record.msg = f"{text} (and {others} more since the last such line)"
        return True
