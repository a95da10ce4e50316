"""Keeps what waits for the whole device, on any thread, apart from the recording of a graph, which that would end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Quiet:
    """One for a process, as it has one device. A recording takes a moment; what it must not meet may take minutes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._disturbing = 0

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """What happens in this context may wait for the whole device; it begins once no recording goes on."""
        with self._lock:
            self._disturbing += 1
        try:
            yield
        finally:
            with self._lock:
                self._disturbing -= 1

    @contextmanager
    def recording(self) -> Iterator[bool]:
        """Whether nobody disturbs, now and until this context ends."""
        with self._lock:
            yield self._disturbing == 0


quiet = Quiet()
