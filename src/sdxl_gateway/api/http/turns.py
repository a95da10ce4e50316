"""Lets only a few requests begin in each round of the event loop, so that no round takes long.

A thousand simultaneous requests would otherwise take each of their steps in the same round, and any other request, such
as a scraper's, would wait for all of them at each of its own steps.
"""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

EACH_ROUND = 4
"""Requests that begin in one round; reading, judging and queueing one takes about a millisecond."""


class Turns:
    """Turns in order of arrival, within one event loop."""

    def __init__(self, each_round: int = EACH_ROUND) -> None:
        self._each_round = self._left = each_round
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Wait for a turn, which comes at once while there are few requests."""
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
    """Middleware. Only POST requests wait for their turn; others are answered meanwhile."""

    def __init__(self, app: ASGIApp, turns: Turns) -> None:
        self._app = app
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        if scope.get("method") == "POST":
            await self._turns.next()
        await self._app(scope, receive, send)
