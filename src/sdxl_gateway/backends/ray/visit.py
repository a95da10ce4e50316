"""One gateway's visit to a replica: the messages it has not received yet, and when it polled last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sdxl_gateway.backends.ray.frames import pack
from sdxl_gateway.ipc.messages import NOBODY, Message, OthersHold


@dataclass(slots=True)
class Visit:
    """`seen_at` is when it polled last, by a steady clock; `wait_seconds` its prediction for a job submitted then."""

    seen_at: float
    wait_seconds: float = 0.0
    _unsaid: list[bytes] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _others: OthersHold = NOBODY

    def say(self, message: Message) -> None:
        """Queue a message for the next answer."""
        self._unsaid.append(pack(message))
        self._news.set()

    def say_others(self, others: OthersHold) -> None:
        """As `say`, if it differs from what was said last."""
        if others != self._others:
            self._others = others
            self.say(others)

    def taken(self) -> bytes:
        """Take the queued messages."""
        said, self._unsaid = self._unsaid, []
        self._news.clear()
        return b"".join(said)

    async def news(self, seconds: float) -> bytes:
        """Take the queued messages as soon as there are any; empty after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return b""
        return self.taken()
