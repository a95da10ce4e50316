"""Takes the credentials of a request, lets in who an Authenticator knows and who may do what the route does."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.credentials import offered_keys
from sdxl_gateway.core.errors import Forbidden
from sdxl_gateway.core.ports import Authenticator


class Authenticate:
    """Stands before an application that needs a key, or an admin key, and notes the caller in the context."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, *, admin: bool = False) -> None:
        self._app = app
        self._authenticator = authenticator
        self._admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Unauthenticated, or Forbidden where an admin key is needed."""
        caller = await self._authenticator.authenticate(offered_keys(scope))
        context_of(scope).caller = caller
        if self._admin and not caller.admin:
            raise Forbidden("This needs an admin key; the operator sets auth.admin_keys.")
        await self._app(scope, receive, send)
