"""Has what one gateway is asked answered by all of them, and says which did not."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sdxl_gateway.core.errors import GatewayError, Unavailable
from sdxl_gateway.core.order import Member
from sdxl_gateway.shared.question_mirror import Question, QuestionMirror

LOOK_SECONDS = 0.5
"""A gateway looks so often whether it is asked anything."""
POLL_SECONDS = 0.1
WAIT_SECONDS = 10.0
"""For the next part of a gateway's answer."""
TAKE_SECONDS = 50.0
"""For one to be taken, by who hands it on to somebody slow."""
THERE_SECONDS = 15.0
"""Whoever said so within this time is asked."""
PART_ITEMS = 100
PARTS_AHEAD = 8
"""More of an answer do not wait in Redis to be taken."""

Answering = Callable[[Mapping[str, Any]], AsyncIterator[Any]]
Members = Callable[[], Awaitable[Sequence[Member]]]


class Questions:
    """This gateway's part in it; `members` tells who there is. Answers are JSON values, in their order."""

    def __init__(self, mirror: QuestionMirror, members: Members, clock: Callable[[], float] = time.time) -> None:
        self._mirror = mirror
        self._members = members
        self._clock = clock
        self._answering: dict[str, Answering] = {}

    def follow(self, kind: str, answering: Answering) -> None:
        """Questions of this kind are answered so, when another gateway asks them."""
        self._answering[kind] = answering

    async def others(self, kind: str, value: Mapping[str, Any]) -> AsyncIterator[tuple[Member, Sequence[Any] | None]]:
        """What the other gateways answer, one after the other, part after part; None where one does not, or stops
        half-way. Raises Unavailable where nobody can be asked."""
        for member in await self._members():
            if member.id == self._mirror.gateway:
                continue
            if member.seen < self._clock() - THERE_SECONDS:
                yield member, None
                continue
            question = Question(secrets.token_hex(16), member.id, kind, dict(value), self._clock())
            await self._mirror.ask(question)
            async for part in self._parts(question):
                yield member, part

    async def running(self) -> None:
        """Answers whatever is asked, until it is cancelled."""
        tasks = set[asyncio.Task[None]]()
        try:
            while True:
                with suppress(Unavailable):
                    for question in await self._mirror.asked():
                        tasks.add(asyncio.create_task(self._answer(question)))
                tasks = {task for task in tasks if not task.done()}
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in tasks:
                task.cancel()

    async def _parts(self, question: Question) -> AsyncIterator[Sequence[Any] | None]:
        loop = asyncio.get_running_loop()
        end = loop.time() + WAIT_SECONDS
        while loop.time() < end:
            found: Sequence[Sequence[Any] | None] = ()
            with suppress(Unavailable):
                found = await self._mirror.take(question)
            for part in found:
                if part is None:
                    return
                yield part
                end = loop.time() + WAIT_SECONDS
            await asyncio.sleep(POLL_SECONDS)
        yield None

    async def _answer(self, question: Question) -> None:
        """Of what cannot be told, whoever asks misses the end."""
        answering = self._answering.get(question.kind)
        if answering is None or question.at < self._clock() - WAIT_SECONDS:
            return
        with suppress(GatewayError):
            part: list[Any] = []
            async for item in answering(question.value):
                part.append(item)
                if len(part) == PART_ITEMS:
                    await self._tell(question, part)
                    part = []
            await self._tell(question, part)
            await self._tell(question, None)

    async def _tell(self, question: Question, part: Sequence[Any] | None) -> None:
        """Raises Unavailable where nobody takes it."""
        waiting, end = await self._mirror.answer(question.id, part), self._clock() + TAKE_SECONDS
        while waiting > PARTS_AHEAD:
            if self._clock() > end:
                raise Unavailable("Nobody takes the answer.")
            await asyncio.sleep(POLL_SECONDS)
            waiting = await self._mirror.waiting(question.id)
