"""Takes requests as they come, lets few begin in each round of the event loop, so that none of its rounds is long.

A thousand that come at once would otherwise take each of their steps together, and whoever asks for anything else,
such as a scraper, would wait for all of them at each of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

EACH_ROUND = 4
"""Reading, judging and queueing one takes about a millisecond."""


class Turns:
    """First come, first served. Used within one event loop."""

    def __init__(self, each_round: int = EACH_ROUND) -> None:
        self._each_round = self._left = each_round
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Returns when it is one's turn: at once while few come."""
        if self._left:
            self._take()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _take(self) -> None:
        if self._left == self._each_round:
            asyncio.get_running_loop().call_soon(self._begin_round)
        self._left -= 1

    def _begin_round(self) -> None:
        self._left = self._each_round
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self._take()
                turn.set_result(None)


class InTurn:
    """Stands before an application. Only what is sent to it waits: who just reads is answered meanwhile."""

    def __init__(self, app: ASGIApp, turns: Turns) -> None:
        self._app = app
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on."""
        if scope.get("method") == "POST":
            await self._turns.next()
        await self._app(scope, receive, send)
