"""Makes the framework's routes from the route table, each behind authentication and the limits of its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette import routing
from starlette.types import ASGIApp, Receive, Scope, Send

from sdxl_gateway.api.http.authenticate import Authenticate
from sdxl_gateway.api.http.body_limit import LimitBody
from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.errors import refusing
from sdxl_gateway.api.http.paths import ENCODED_SLASH, with_slashes
from sdxl_gateway.api.http.route import Access, BodyLimit, Route
from sdxl_gateway.core.errors import MethodNotAllowed, NotFound
from sdxl_gateway.core.ports import Authenticator
from sdxl_gateway.core.text import shown

Admit = Callable[[], None]


def routes(
    rows: Sequence[Route], authenticator: Authenticator, limit: BodyLimit, admit: Admit
) -> list[routing.BaseRoute]:
    """One route per path, for all its methods; `limit` is for rows without one, `admit` for those that act."""
    by_path: dict[str, list[Route]] = {}
    for row in rows:
        for path in row.paths:
            by_path.setdefault(path, []).append(row)
    return [routing.Route(path, Resource(found, authenticator, limit, admit)) for path, found in by_path.items()]


class Resource:
    """The rows of one path as an ASGI application; a wrong method is answered with a list of the right ones."""

    def __init__(self, rows: Sequence[Route], authenticator: Authenticator, limit: BodyLimit, admit: Admit) -> None:
        self._rows = {row.verb: row for row in rows}
        if "GET" in self._rows:
            self._rows.setdefault("HEAD", self._rows["GET"])
        self._first = rows[0]
        self._apps = {verb: _guarded(row, authenticator, limit, admit) for verb, row in self._rows.items()}
        is_open = all(row.access is Access.OPEN for row in rows)
        self._wrong_verb = self._refuse_verb if is_open else Authenticate(self._refuse_verb, authenticator)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the row of the request's method, which is noted first, so that refusals have its label too."""
        verb = scope["method"]
        scope["path_params"] = {name: with_slashes(value) for name, value in scope["path_params"].items()}
        context_of(scope).route = self._rows.get(verb, self._first)
        await self._apps.get(verb, self._wrong_verb)(scope, receive, send)

    async def _refuse_verb(self, scope: Scope, receive: Receive, send: Send) -> None:
        allow = ", ".join(sorted(self._rows))
        error = MethodNotAllowed(f"Not allowed to {scope['method']} on {_path(scope)}. Allowed: {allow}.")
        await refusing(scope, error, {"allow": allow})(scope, receive, send)


def _guarded(row: Route, authenticator: Authenticator, limit: BodyLimit, admit: Admit) -> ASGIApp:
    """The row's endpoint behind its middleware: first the key, then `admit`, then the limit of the body."""
    app: ASGIApp = LimitBody(routing.request_response(row.endpoint), row.body or limit)
    if row.acts:
        app = Admitted(app, admit)
    if row.access is Access.OPEN:
        return app
    return Authenticate(app, authenticator, row.access.role)


class Admitted:
    """Middleware of an application that acts: `admit` raises if that is not possible now."""

    def __init__(self, app: ASGIApp, admit: Admit) -> None:
        self._app = app
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what `admit` raises."""
        self._admit()
        await self._app(scope, receive, send)


class UnknownPath:
    """Answers every address that is not in the table; it needs a key, as every route that is not open."""

    def __init__(self, rows: Sequence[Route], authenticator: Authenticator) -> None:
        self._painting = [row for row in rows if row.paints]
        self._offers = _offers(rows)
        self._known = Authenticate(self._refuse, authenticator)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises NotFound, which lists what is offered; a websocket is closed."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        context_of(scope).route = self._meant(scope["path"])
        await self._known(scope, receive, send)

    def _meant(self, path: str) -> Route | None:
        """The painting route whose path follows a wrong base URL: still a request to paint that was refused."""
        return next((row for row in self._painting if path.endswith(row.paths)), None)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        twice = " The path holds /v1 twice; give the client a base URL that ends in one /v1."
        hint = twice if "/v1/v1/" in scope["path"] else self._offers
        raise NotFound(f"Invalid URL ({scope['method']} {_path(scope)}).{hint}")


def _offers(rows: Sequence[Route]) -> str:
    """The addresses that a client can start from: without parameters, and open to any key that paints."""
    found = dict.fromkeys(row.documented_path for row in rows if row.access is Access.KEY)
    return f" This server offers {', '.join(path for path in found if '{' not in path)}; see /openapi.json."


def _path(scope: Scope) -> str:
    return shown(scope["path"].replace(ENCODED_SLASH, "%2F"))[1:-1]
