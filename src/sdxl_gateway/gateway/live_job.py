"""LiveJob: a stored job while it is taken up, with what its followers are told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from sdxl_gateway.core.stored_job import StoredJob
from sdxl_gateway.gateway.events import Partial, Progressed

MOST_LOOKS = 4
"""Partial images kept for followers who come later; the news of older ones is dropped."""


@dataclass(frozen=True, slots=True, order=True)
class NewsId:
    """`taking` counts how often the job was taken up (StoredJob.taking), `number` its news since then, from 1."""

    taking: int
    number: int

    def __str__(self) -> str:
        return f"{self.taking}-{self.number}"

    @classmethod
    def of(cls, text: str | None) -> NewsId | None:
        """What `str` wrote; None for anything else."""
        taking, dash, number = (text or "").partition("-")
        known = dash and taking.isdecimal() and number.isdecimal() and len(taking + number) < 20
        return cls(int(taking), int(number)) if known else None


@dataclass(frozen=True, slots=True)
class News:
    """One thing that happened to a job that was taken up; `step` of `steps` are over all its pictures."""

    id: NewsId
    kind: Literal["in_progress", "progress", "partial_image"]
    step: int = 0
    steps: int = 0
    look: Partial | None = None


class Bell:
    """A condition for one event loop: each ring wakes everybody who waits."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Whoever waits now goes on."""
        self._event.set()
        self._event = asyncio.Event()

    async def next(self, seconds: float | None = None) -> None:
        """Until it rings, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


@dataclass(slots=True)
class LiveJob:
    """`started` is unix seconds, None until an engine begins the job; `let_in` is true once nothing can refuse it any
    more; `hear` is called with each of its news and `started`."""

    job: StoredJob
    pictures: int = 1
    started: float | None = None
    look: Partial | None = None
    let_in: bool = False
    over: bool = False
    hear: Callable[[News, float | None], None] = lambda _, __: None
    bell: Bell = field(default_factory=Bell)
    _steps: dict[int, int] = field(default_factory=dict)
    _steps_each: int = 0
    _news: list[News] = field(default_factory=list)
    _told: int = 0

    @property
    def step(self) -> int:
        """Denoising steps done, over all pictures."""
        return sum(self._steps.values())

    @property
    def steps(self) -> int:
        """Denoising steps in all; 0 while none was taken."""
        return self._steps_each * self.pictures

    def begin(self, now: float) -> None:
        """An engine has begun it."""
        self.started = now
        self._tell("in_progress")

    def progress(self, event: Progressed) -> None:
        """One of its pictures took a step."""
        self._steps[event.index], self._steps_each = event.step, event.steps
        self._news = [news for news in self._news if news.kind != "progress"]
        self._tell("progress")

    def show(self, look: Partial) -> None:
        """A partial image of one of its pictures."""
        self.look = look
        looks = [news for news in self._news if news.look is not None]
        if len(looks) >= MOST_LOOKS:
            self._news.remove(looks[0])
        self._tell("partial_image", look)

    def end(self) -> None:
        """No more news follows, this time that it was taken up."""
        self.over = True
        self.bell.ring()

    async def follow(self, after: NewsId | None) -> AsyncIterator[News]:
        """Its news after `after`, to the last; those that newer ones have replaced are left out."""
        number = after.number if after is not None and after.taking == self.job.taking else 0
        while True:
            for news in [one for one in self._news if one.id.number > number]:
                number = news.id.number
                yield news
            if self.over:
                return
            if self._told <= number:
                await self.bell.next()

    def _tell(self, kind: Literal["in_progress", "progress", "partial_image"], look: Partial | None = None) -> None:
        self._told += 1
        news = News(NewsId(self.job.taking, self._told), kind, self.step, self.steps, look)
        self._news.append(news)
        self.hear(news, self.started)
        self.bell.ring()
