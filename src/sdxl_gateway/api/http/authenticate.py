"""Takes the credentials of every request, lets in who an Authenticator knows; routes named open need none."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.credentials import offered_keys
from sdxl_gateway.api.http.errors import refusing
from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.ports import Authenticator

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json"})
OPEN_PREFIX = "/files/"


class AuthenticateMiddleware:
    """Lets in who is known; every route is behind it unless it is named open."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, *, protect_metrics: bool) -> None:
        self._app = app
        self._authenticator = authenticator
        self._open = OPEN_PATHS if protect_metrics else OPEN_PATHS | {"/metrics"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            try:
                context_of(scope).caller = await self._authenticator.authenticate(offered_keys(scope))
            except GatewayError as error:
                await refusing(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open or path.startswith(OPEN_PREFIX)
