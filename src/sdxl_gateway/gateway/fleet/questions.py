"""Has what one gateway is asked answered by all of them, and says which did not."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Heard:
    """What the others answered, and who did not; None there stands for all of them."""

    items: Sequence[Any]
    missing: Sequence[Member | None]


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
        for member in await self._others():
            async for part in self._told_by(member, kind, value):
                yield member, part

    async def gathered(self, kind: str, value: Mapping[str, Any]) -> Heard:
        """What all the others answer, who are asked at once; nothing of one that stops half-way."""
        try:
            members = await self._others()
        except Unavailable:
            return Heard([], [None])
        answers = await asyncio.gather(*(self._whole(member, kind, value) for member in members))
        missing = [member for member, answer in zip(members, answers, strict=True) if answer is None]
        return Heard([item for answer in answers for item in answer or ()], missing)

    async def whoever(self, kind: str, value: Mapping[str, Any]) -> Sequence[Any]:
        """What the first of the others answers who answers anything; nothing where none does. Raises Unavailable where
        one that might does not answer."""
        tasks = [asyncio.create_task(self._whole(member, kind, value)) for member in await self._others()]
        try:
            silent = False
            for ended in asyncio.as_completed(tasks):
                answer = await ended
                if answer:
                    return answer
                silent = silent or answer is None
        finally:
            for task in tasks:
                task.cancel()
        if silent:
            raise Unavailable("This may be at another gateway, which does not answer.")
        return []

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

    async def _others(self) -> list[Member]:
        return [member for member in await self._members() if member.id != self._mirror.gateway]

    async def _whole(self, member: Member, kind: str, value: Mapping[str, Any]) -> list[Any] | None:
        """All that it answers; None where that does not come to its end."""
        found = list[Any]()
        with suppress(Unavailable):
            async for part in self._told_by(member, kind, value):
                if part is None:
                    return None
                found.extend(part)
            return found
        return None

    async def _told_by(
        self, member: Member, kind: str, value: Mapping[str, Any]
    ) -> AsyncIterator[Sequence[Any] | None]:
        """Part after part; None where it is not there, or stops half-way. Raises Unavailable."""
        if member.seen < self._clock() - THERE_SECONDS:
            yield None
            return
        question = Question(secrets.token_hex(16), member.id, kind, dict(value), self._clock())
        await self._mirror.ask(question)
        async for part in self._parts(question):
            yield part

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
