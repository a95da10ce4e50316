"""Continues the trace of a request's `traceparent`, or begins a new one."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sdxl_gateway.core.trace import Sampling, Trace, following


class Tracing:
    """The outermost middleware. A caller's trace is sampled if the caller says so; `sampling` decides for others."""

    def __init__(self, app: ASGIApp, sampling: Sampling) -> None:
        self._app = app
        self._sampling = sampling

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; an invalid header counts as none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        caller = Trace.read(headers.get("traceparent", ""), ",".join(headers.getlist("tracestate")))
        with following(self._sampling.under(caller)):
            await self._app(scope, receive, send)
