"""Answers a request with an Idempotency-Key once; the same request again gets the same answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from sdxl_gateway.api.asks.idempotency import fingerprint, idempotency_key, job_key
from sdxl_gateway.api.endpoints.links import links_of
from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.errors import error_response
from sdxl_gateway.api.replies.signed_anew import signed_anew
from sdxl_gateway.api.replies.stream import PaintingStream
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import GatewayError, InvalidImage, InvalidRequest, StorageFull, Unavailable
from sdxl_gateway.core.events import Kept
from sdxl_gateway.core.stored_job import JobKey
from sdxl_gateway.gateway.job_now import JobNow
from sdxl_gateway.storage.idempotency import KeptReply, reused
from sdxl_gateway.storage.idempotency_table import Scope as KeyScope

log = logging.getLogger(__name__)

REPLAYED = "idempotent-replayed"
REPLAY_HEADERS = {REPLAYED: "true if this is the stored answer to an earlier request with the same Idempotency-Key."}
LASTING = (InvalidRequest, InvalidImage)
"""Refusals that the same request would get again; all others may pass."""
PASSING_CODES = frozenset({"lora_not_found"})
"""Refusals of these codes may pass: a LoRA may be added."""

Answer = Callable[[JobKey | None], Awaitable[Response]]
Again = Callable[[JobNow], Awaitable[Response]]
Renew = Callable[[bytes], Awaitable[bytes]]


async def once(services: Services, request: Request, ask: Ask, answer: Answer, again: Again) -> Response:
    """What `answer` returns, or returned before under this key, with its links signed anew; if that reply is lost but a
    job was accepted under the key, what `again` returns for the job.

    Raises KeyInUse while a request of this key is being answered, KeyReused for another request under the key,
    AnsweredElsewhere, and what `answer` raises.
    """
    key = idempotency_key(request)
    if key is None:
        return await answer(None)
    context = context_of(request.scope)
    scope = KeyScope(context.caller.tenant, context.operation, key)
    renew = partial(signed_anew, images=services.images, links=links_of(services, request))
    mark = await asyncio.to_thread(fingerprint, ask, request.headers)
    keyed = _KeyedRequest(services, scope, mark, renew, answer, again)
    return await keyed.replayed() or await keyed.answered()


@dataclass(frozen=True, slots=True)
class _KeyedRequest:
    services: Services
    scope: KeyScope
    fingerprint: bytes
    renew: Renew
    answer: Answer
    again: Again

    @property
    def job_key(self) -> JobKey:
        """The key as a stored job remembers it."""
        return job_key(self.scope, self.fingerprint, self.services.settings.idempotency.keep_seconds)

    async def replayed(self) -> Response | None:
        """The reply that was given before, if any."""
        kept = await self.services.replies.find(self.scope, self.fingerprint)
        return None if kept is None else await self._replay(kept)

    async def _replay(self, kept: KeptReply) -> Response:
        return Response(await self.renew(kept.body), kept.status, kept.headers | {REPLAYED: "true"})

    async def answered(self) -> Response:
        """Answer the request, and keep the reply before it is sent; until then (or a stream's end) the key is used."""
        elsewhere = await self.services.replies.claim(self.scope, self.fingerprint)
        if elsewhere is not None:
            return await self._replay(elsewhere)
        response: Response | None = None
        try:
            # The reply may have been kept after `replayed` looked and before the key was claimed.
            response = await self.replayed() or await self._accepted_before() or await self._noted()
        finally:
            if not isinstance(response, NotedStream):
                self.services.replies.release(self.scope)
        return response

    async def _accepted_before(self) -> Response | None:
        """The answer for a job whose gateway was killed before its reply was kept. Raises KeyReused."""
        now = await self.services.tasks.by_key(self.job_key)
        if now is None:
            return None
        if now.job.fingerprint != self.fingerprint.hex():
            raise reused()
        response = await self.again(now)
        response.headers[REPLAYED] = "true"
        self.services.tell(Kept("reply", "replayed"))
        return response

    async def _noted(self) -> Response:
        try:
            response = await self.answer(self.job_key)
        except GatewayError as error:
            if isinstance(error, LASTING) and error.code not in PASSING_CODES:
                await self._note(error_response(error))
            raise
        if isinstance(response, PaintingStream):
            return NotedStream(response, self._note, lambda: self.services.replies.release(self.scope))
        await self._note(response)
        return response

    async def _note(self, response: Response) -> None:
        """Keep the reply; it is sent even if it cannot be kept."""
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        try:
            reply = KeptReply(response.status_code, headers, bytes(response.body))
            await self.services.replies.keep(self.scope, self.fingerprint, reply)
        except (StorageFull, Unavailable) as problem:
            log.warning("a reply is not remembered under its key: %s", problem)


class NotedStream(Response):
    """A stream whose last event is kept as the reply, before it is sent; a replay consists of that event alone."""

    def __init__(
        self, stream: PaintingStream, note: Callable[[Response], Awaitable[None]], ended: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._note = note
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; one that ends early, or in an error, is not kept."""

        async def noting(message: Message) -> None:
            if self._stream.completes(body := message.get("body", b"")):
                headers = {name: value for name, value in self._stream.headers.items() if name != "content-length"}
                await self._note(Response(body, headers=headers))
            await send(message)

        try:
            await self._stream(scope, receive, noting)
        finally:
            self._ended()
