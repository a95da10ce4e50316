"""Keeps device-wide synchronisation, on any thread, apart from CUDA graph capture, which it would invalidate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Quiet:
    """A lock of two sides; one for a process, as it has one device.

    A capture takes a moment and is waited for; synchronising work may take minutes, so that a capture is given up.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._disturbing = 0

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """This context may synchronise the whole device; entering waits until no capture is in progress."""
        with self._lock:
            self._disturbing += 1
        try:
            yield
        finally:
            with self._lock:
                self._disturbing -= 1

    @contextmanager
    def recording(self) -> Iterator[bool]:
        """For a capture: whether no `disturbed` context is open, which then cannot change until this one ends."""
        with self._lock:
            yield self._disturbing == 0


quiet = Quiet()
