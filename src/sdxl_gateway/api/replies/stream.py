"""Streams the gateway's items as OpenAI's events; closing the connection closes the iterator."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from sdxl_gateway.api.http.closing import LAST_WORDS_SECONDS
from sdxl_gateway.api.http.disconnect import close
from sdxl_gateway.api.replies.events import (
    LINE_END,
    completed_event,
    completed_head,
    error_event,
    partial_event,
    position_comment,
    step_comment,
)
from sdxl_gateway.api.replies.images import Outcome, ReplyStyle
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import EngineFault, GatewayError
from sdxl_gateway.gateway.events import Accepted, Done, Item, Partial, Presented, Progressed

log = logging.getLogger(__name__)


class PaintingStream(EventSourceResponse):
    """The event stream of one picture. Headers are sent at once; comments keep proxies from closing the connection."""

    def __init__(
        self,
        operation: Operation,
        style: ReplyStyle,
        accepted: Accepted,
        items: AsyncIterator[Item],
        *,
        headers: dict[str, str],
        ping_seconds: float,
        grace_seconds: float,
    ) -> None:
        self._items = items
        self._last = completed_head(operation)
        super().__init__(
            event_frames(operation, style, accepted, items),
            headers=headers,
            ping=ping_seconds,
            sep=LINE_END,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep=LINE_END),
            # A server that shuts down still finishes pictures that are nearly done.
            shutdown_grace_period=grace_seconds + LAST_WORDS_SECONDS,
        )

    def completes(self, frame: bytes) -> bool:
        """Whether this is the stream's last frame, with the finished picture."""
        return frame.startswith(self._last)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; the items are closed however this ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Also if the connection broke before the first event was requested.
            await close(self._items)


async def event_frames(
    operation: Operation, style: ReplyStyle, accepted: Accepted, items: AsyncIterator[Item]
) -> AsyncIterator[bytes]:
    """Frames: the queue position, steps and partial images, then `completed` or one `error`."""
    presented: list[Presented] = []
    yield position_comment(accepted)
    try:
        async for item in items:
            if isinstance(item, Progressed):
                yield step_comment(item)
            elif isinstance(item, Partial):
                yield await asyncio.to_thread(partial_event, operation, item, accepted)
            elif isinstance(item, Presented):
                presented.append(item)
            elif isinstance(item, Done):
                outcome = Outcome(style, accepted, tuple(presented), item)
                yield await asyncio.to_thread(completed_event, operation, outcome)
    except GatewayError as error:
        yield error_event(error)
    except Exception:
        log.exception("a stream ended in an unexpected error")
        yield error_event(EngineFault("The server had an error while processing your request.", code="server_error"))
