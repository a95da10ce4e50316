"""Authenticates requests, and checks that the key's role allows the route."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.credentials import offered_keys
from sdxl_gateway.core.caller import Role
from sdxl_gateway.core.errors import Forbidden
from sdxl_gateway.core.ports import Authenticator


class Authenticate:
    """Middleware of an application that needs a key, of that role if one is given; notes the caller in the context."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, role: Role | None = None) -> None:
        self._app = app
        self._authenticator = authenticator
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Unauthenticated, or Forbidden for a key of another role."""
        caller = await self._authenticator.authenticate(offered_keys(scope))
        context = context_of(scope)
        context.caller, context.known = caller, True
        if self._role is not None and not caller.may(self._role):
            raise Forbidden(f"This needs a key with the role '{self._role}'.")
        await self._app(scope, receive, send)
