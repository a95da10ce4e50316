"""Keeps questions between gateways in Redis, and their answers until these are taken (as QuestionMirror)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import partial
from typing import Any

from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.link import Link
from sdxl_gateway.shared.notices import Notices
from sdxl_gateway.shared.question_mirror import Question

KEPT_SECONDS = 60.0
"""Questions nobody answered, and parts of answers nobody took, are dropped after so long."""


class SharedQuestions:
    """A QuestionMirror: a list of parts for each question that is being answered."""

    def __init__(self, link: Link, envelope: Envelope, gateway_id: str) -> None:
        self.gateway = gateway_id
        self._link = link
        self._envelope = envelope
        self._notices = Notices(link, envelope, "questions", KEPT_SECONDS)

    async def ask(self, question: Question) -> None:
        """As QuestionMirror."""
        await self._notices.tell(astuple(question))

    async def asked(self) -> Sequence[Question]:
        """As QuestionMirror."""
        found = [Question(*value) for value in await self._notices.told()]
        return [question for question in found if question.to == self.gateway]

    async def answer(self, question_id: str, part: Sequence[Any] | None) -> int:
        """As QuestionMirror."""
        name = self._name(question_id)
        return await self._link.ask(partial(self._push, name, self._envelope.closed(name, part)))

    async def waiting(self, question_id: str) -> int:
        """As QuestionMirror."""
        name = self._name(question_id)
        found: Any = await self._link.ask(partial(self._link.redis.llen, name))
        return int(found)

    async def take(self, question: Question) -> Sequence[Sequence[Any] | None]:
        """As QuestionMirror."""
        name, parts = self._name(question.id), list[Sequence[Any] | None]()
        for closed in await self._link.ask(partial(self._pop, name)):
            with suppress(Foreign):
                parts.append(self._envelope.opened(name, closed))
        return parts

    async def _push(self, name: str, closed: bytes) -> int:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(name, closed)
            pipeline.pexpire(name, int(KEPT_SECONDS * 1000))
            return int((await pipeline.execute())[0])

    async def _pop(self, name: str) -> list[bytes]:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            pipeline.lrange(name, 0, -1)
            pipeline.delete(name)
            found: list[bytes] = (await pipeline.execute())[0]
            return found

    def _name(self, question_id: str) -> str:
        return self._link.key("answer", question_id)
