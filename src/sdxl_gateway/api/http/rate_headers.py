"""Adds OpenAI's rate limit headers to answers of routes that paint, for callers with limits."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.core.allowance import Level, Unit
from sdxl_gateway.core.caller import Caller

Levels = Callable[[Caller], Awaitable[Sequence[Level]]]

_TOLD = {
    "limit": "How many {} may be taken {}.",
    "remaining": "How many {} may still be taken.",
    "reset": "Until all {} may be taken again, as 1m30s.",
}
_WINDOWS = {Unit.REQUESTS: "a minute", Unit.IMAGES: "a minute", Unit.PIXEL_STEPS: "a day"}
RATE_HEADERS = {
    f"x-ratelimit-{what}-{unit}": about.format(unit, window)
    for unit, window in _WINDOWS.items()
    for what, about in _TOLD.items()
}


class RateHeaders:
    """Adds the headers to answers of routes that paint, and to refusals, once the caller is known."""

    def __init__(self, app: ASGIApp, levels: Levels) -> None:
        self._app = app
        self._levels = levels

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                context = context_of(scope)
                if context.paints and context.known:
                    MutableHeaders(scope=message).update(rate_headers(await self._levels(context.caller)))
            await send(message)

        await self._app(scope, receive, telling if scope["type"] == "http" else send)


def rate_headers(levels: Iterable[Level]) -> dict[str, str]:
    """Three headers for each level."""
    headers: dict[str, str] = {}
    for level in levels:
        unit = level.meter.unit
        headers[f"x-ratelimit-limit-{unit}"] = str(level.meter.most)
        headers[f"x-ratelimit-remaining-{unit}"] = str(level.remaining)
        headers[f"x-ratelimit-reset-{unit}"] = duration(level.reset_seconds)
    return headers


def duration(seconds: float) -> str:
    """A duration as Go writes it: "0s", "120ms", "8.64s", "6m0s", "7h3m12s"."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, whole = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{whole}s" if hours else f"{minutes}m{whole}s"
