"""One gateway's visit to a replica: what it is still to be told, and whether it is still there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sdxl_gateway.backends.ray.frames import pack
from sdxl_gateway.ipc.messages import NOBODY, Message, OthersHold


@dataclass(slots=True)
class Visit:
    """`seen_at` is when it last asked, in steady seconds; `wait_seconds` what it then predicted for a newcomer."""

    seen_at: float
    wait_seconds: float = 0.0
    _unsaid: list[bytes] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _others: OthersHold = NOBODY

    def say(self, message: Message) -> None:
        """It is told with the next answer."""
        self._unsaid.append(pack(message))
        self._news.set()

    def say_others(self, others: OthersHold) -> None:
        """Likewise, where it is not what was said last."""
        if others != self._others:
            self._others = others
            self.say(others)

    def taken(self) -> bytes:
        """What was unsaid."""
        said, self._unsaid = self._unsaid, []
        self._news.clear()
        return b"".join(said)

    async def news(self, seconds: float) -> bytes:
        """As soon as there is any, none after so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return b""
        return self.taken()
