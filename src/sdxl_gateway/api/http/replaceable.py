"""Takes one ASGI application after another, gives each request to the one there is when it begins."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Replaceable:
    """Set `current`, at first and to replace it; requests that have begun end in the application they began in."""

    current: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan is the first application's, from the start of the server to its end."""
        await self.current(scope, receive, send)
