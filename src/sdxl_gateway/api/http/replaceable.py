"""An ASGI application that can be replaced; requests end in the application they began in."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Replaceable:
    """Set `current` before the first request, and to replace the application."""

    current: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan is that of the first application, from the start of the server to its end."""
        await self.current(scope, receive, send)
