"""The RequestContext of an ASGI scope: what the server notes about a request while it answers it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from starlette.types import Scope

from sdxl_gateway.api.http.route import Route
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import GatewayError

KEY = "sdxl_gateway.context"
NO_ROUTE = "other"


@dataclass(slots=True)
class RequestContext:
    """`started` is `time.monotonic()` seconds; `error` is the error that was answered, if any.

    `known` once the caller is authenticated. `route` is None until the request is matched, and remains so if no route
    matches.
    """

    route: Route | None = None
    request_id: str = field(default_factory=lambda: "req_" + secrets.token_hex(16))
    started: float = field(default_factory=time.monotonic)
    caller: Caller = field(default_factory=Caller)
    known: bool = False
    model: str = ""
    ignored: tuple[str, ...] = ()
    error: GatewayError | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the request began."""
        return time.monotonic() - self.started

    @property
    def operation(self) -> str:
        """The request's label, one of a small fixed set."""
        return NO_ROUTE if self.route is None else self.route.label

    @property
    def acts(self) -> bool:
        """Whether the route changes something, or is only for operators."""
        return self.route is not None and self.route.acts

    @property
    def paints(self) -> bool:
        """Whether the route is one that paints."""
        return self.route is not None and self.route.paints


def begin_context(scope: Scope) -> RequestContext:
    """Store a new context in the scope."""
    context = RequestContext()
    scope[KEY] = context
    return context


def context_of(scope: Scope) -> RequestContext:
    """The scope's context; a new one if no middleware made one."""
    found = scope.get(KEY)
    return found if isinstance(found, RequestContext) else begin_context(scope)
