"""Takes an event, tells every listener of it: metrics, log, library and whatever else wants to know."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sdxl_gateway.core.events import EngineEvent, Event

log = logging.getLogger(__name__)

Listener = Callable[[Event], None]
EngineListener = Callable[[EngineEvent], None]
"""Hears what a backend has to say of its engines; every Listener is one."""


def unheard(_: Event) -> None:
    """The listener of what nobody counts."""


class Listeners:
    """One list, told in its order. A listener that raises harms neither who announces nor the others."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners
        self._broken: set[Listener] = set()

    def __call__(self, event: Event) -> None:
        """Announce `event`; never raises. What a listener raises is logged the first time it does so."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                self._log_once(listener)

    def _log_once(self, listener: Listener) -> None:
        if listener not in self._broken:
            self._broken.add(listener)
            log.exception("a listener failed, %r; its further failures are not logged", listener)
