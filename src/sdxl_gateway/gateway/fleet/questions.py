"""Asks the other gateways, and answers them; tells which of them did not answer."""

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
"""How often a gateway looks for questions."""
POLL_SECONDS = 0.1
WAIT_SECONDS = 10.0
"""How long the next part of an answer is waited for."""
TAKE_SECONDS = 50.0
"""How long a part waits to be taken, by an asker that passes it on to a slow client."""
THERE_SECONDS = 15.0
"""Gateways that reported within this time are asked."""
PART_ITEMS = 100
PARTS_AHEAD = 8
"""Parts of an answer that may wait in Redis."""

Answering = Callable[[Mapping[str, Any]], AsyncIterator[Any]]
Members = Callable[[], Awaitable[Sequence[Member]]]


@dataclass(frozen=True, slots=True)
class Heard:
    """The items of the other gateways' answers, and who did not answer; None there stands for all others."""

    items: Sequence[Any]
    missing: Sequence[Member | None]


class Questions:
    """Asks and answers for this gateway; `members` lists the fleet. Answers are sequences of JSON values."""

    def __init__(self, mirror: QuestionMirror, members: Members, clock: Callable[[], float] = time.time) -> None:
        self._mirror = mirror
        self._members = members
        self._clock = clock
        self._answering: dict[str, Answering] = {}

    def follow(self, kind: str, answering: Answering) -> None:
        """Answer questions of this kind from other gateways by `answering`."""
        self._answering[kind] = answering

    async def others(self, kind: str, value: Mapping[str, Any]) -> AsyncIterator[tuple[Member, Sequence[Any] | None]]:
        """The other gateways' answers, one gateway after the other, part by part; None for one that does not answer, or
        stops half-way. Raises Unavailable when none can be asked."""
        for member in await self._others():
            async for part in self._told_by(member, kind, value):
                yield member, part

    async def gathered(self, kind: str, value: Mapping[str, Any]) -> Heard:
        """The other gateways' answers, who are asked concurrently; nothing of one that stops half-way."""
        try:
            members = await self._others()
        except Unavailable:
            return Heard([], [None])
        answers = await asyncio.gather(*(self._whole(member, kind, value) for member in members))
        missing = [member for member, answer in zip(members, answers, strict=True) if answer is None]
        return Heard([item for answer in answers for item in answer or ()], missing)

    async def whoever(self, kind: str, value: Mapping[str, Any]) -> Sequence[Any]:
        """The first answer of another gateway that is not empty; an empty one when every gateway has nothing to say.

        Raises Unavailable when there is none, and a gateway did not answer.
        """
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
        """Answer questions, until this is cancelled."""
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
        """Its whole answer; None for one that does not come to its end."""
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
        """Its answer part by part; None when it is not there, or stops half-way. Raises Unavailable."""
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
        """When answering fails, the answer stays without its end, by which the asker knows."""
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
        """Add a part to the answer. Raises Unavailable when nobody takes the parts."""
        waiting, end = await self._mirror.answer(question.id, part), self._clock() + TAKE_SECONDS
        while waiting > PARTS_AHEAD:
            if self._clock() > end:
                raise Unavailable("Nobody takes the answer.")
            await asyncio.sleep(POLL_SECONDS)
            waiting = await self._mirror.waiting(question.id)
