"""Announces events to listeners: metrics, log, library and others."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sdxl_gateway.core.events import EngineEvent, Event

log = logging.getLogger(__name__)

Listener = Callable[[Event], None]
EngineListener = Callable[[EngineEvent], None]
"""A listener to a backend's events of its engines; every Listener is one."""


def unheard(_: Event) -> None:
    """The listener that ignores events."""


class Listeners:
    """A list of listeners, called in order. One that raises affects neither the announcer nor the others."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners
        self._broken: set[Listener] = set()

    def __call__(self, event: Event) -> None:
        """Announce `event`; never raises. The first exception of each listener is logged."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                self._log_once(listener)

    def _log_once(self, listener: Listener) -> None:
        if listener not in self._broken:
            self._broken.add(listener)
            log.exception("a listener failed, %r; its further failures are not logged", listener)
