"""Closes connections whose request stays incomplete for too long.

A body has a timeout while a route waits for it (body_limit.py); nothing else limits the time of a request's head, or of
what a client still sends after it was answered.
"""

from __future__ import annotations

import asyncio

from sdxl_gateway.api.http.door import Door
from sdxl_gateway.api.http.strict_protocol import StrictProtocol


def protocol_with_timeout(seconds: float, door: Door | None = None) -> type[StrictProtocol]:
    """The HTTP protocol of one server, with its Door."""
    return type("Punctual", (_TimedProtocol,), {"seconds": seconds, "door": door or Door()})


class _TimedProtocol(StrictProtocol):
    seconds: float
    _hanging_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """The timeout runs from the start, or the first byte after an answer, until the request is handed on."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self._hanging_up is None:
            self._hanging_up = self.loop.call_later(self.seconds, self.transport.close)

    def _rest(self) -> None:
        if self._hanging_up is not None:
            self._hanging_up.cancel()
            self._hanging_up = None
