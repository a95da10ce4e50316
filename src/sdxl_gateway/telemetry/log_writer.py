"""Writes log lines on a thread of its own, so that logging never waits for the reader."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from sdxl_gateway.telemetry.instruments import NAMESPACE

MAX_WAITING_BYTES = 4 * 2**20
FLUSH_SECONDS = 2.0
"""How long an ending process waits for a reader to take the last lines."""
_RETRY_SECONDS = 0.05


class LogWriter(logging.Handler):
    """Writes to a file descriptor in the order of arrival; lines beyond `max_waiting_bytes` are dropped and counted.

    The descriptor is written to directly: a thread blocked inside a stream's buffer would keep its lock, and the
    interpreter aborts at its end over that.
    """

    def __init__(self, descriptor: int, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        super().__init__()
        self.dropped_lines = 0
        self._descriptor = descriptor
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._told_dropped_lines = 0
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._write_all, name="log-writer", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line, or drop it; returns at once."""
        line = self._line(record)
        with self._changed:
            if self._closed:
                self._lost()
            elif self._waiting_bytes + len(line) > self._max_waiting_bytes:
                self.dropped_lines += 1
            else:
                self._take(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Return when everything queued so far is written, or after FLUSH_SECONDS."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting_bytes and not self._untold_lines, FLUSH_SECONDS)

    def close(self) -> None:
        """Write what is queued, if somebody reads it; nothing more is accepted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            text = self.format(record)
        except Exception as error:
            # Python's own way is to print that to stderr, which is what nobody may be reading.
            text = f"a log line of {record.name!r} could not be made: {error!r}"
        return f"{text}\n".encode("utf-8", "backslashreplace")

    def _take(self, line: bytes) -> None:
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _lost(self) -> None:
        """Count one more dropped line, which nobody can be told of."""
        self.dropped_lines += 1
        self._told_dropped_lines += 1

    @property
    def _untold_lines(self) -> int:
        return self.dropped_lines - self._told_dropped_lines

    def _write_all(self) -> None:
        while (line := self._next()) is not None:
            self._write(line)
            with self._changed:
                self._waiting_bytes -= len(line)
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        """Wait for a line; None when there will be no more. Its bytes count as waiting until it is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed or self._untold_lines)
            if not self._waiting and self._untold_lines:
                self._tell_dropped()
            return self._waiting.popleft() if self._waiting else None

    def _tell_dropped(self) -> None:
        words = f"{self._untold_lines} log lines were dropped: nobody read them"
        self._take(self._line(logging.LogRecord(__name__, logging.WARNING, __file__, 0, words, None, None)))
        self._told_dropped_lines = self.dropped_lines

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[self._written_bytes(line) :]
        except OSError:
            # Nobody will ever read: the pipe is closed, or the disk full.
            with self._changed:
                self._lost()

    def _written_bytes(self, line: bytes) -> int:
        try:
            return os.write(self._descriptor, line)
        except BlockingIOError:
            # Whoever shares the terminal or the pipe may have made it non-blocking.
            time.sleep(_RETRY_SECONDS)
            return 0


def flush_logs() -> None:
    """Flush all logs, for processes that end without Python's shutdown."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class DroppedLines(Collector):
    """A metric of the lines that this process's log has dropped."""

    def describe(self) -> Iterator[Metric]:
        yield from self.collect()

    def collect(self) -> Iterator[Metric]:
        lines = sum(one.dropped_lines for one in logging.getLogger().handlers if isinstance(one, LogWriter))
        yield CounterMetricFamily(f"{NAMESPACE}_log_lines_dropped", "Log lines that nobody took.", value=lines)
