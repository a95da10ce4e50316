"""Takes an ASGI scope, gives its RequestContext: what this server notes about one request while it answers it."""

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
    """`started` is `time.monotonic()` seconds; `error` is what was answered instead of what was asked for.

    `known` once it is sure who the caller is. `route` is None until the request was matched, and stays so when nothing
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
        """Since the request began."""
        return time.monotonic() - self.started

    @property
    def operation(self) -> str:
        """A label out of a small fixed set, whatever was asked."""
        return NO_ROUTE if self.route is None else self.route.label

    @property
    def acts(self) -> bool:
        """It came to a route that changes something, or that only operators may use."""
        return self.route is not None and self.route.acts

    @property
    def paints(self) -> bool:
        """It came to one of the routes that paint."""
        return self.route is not None and self.route.paints


def begin_context(scope: Scope) -> RequestContext:
    """A new context, kept in the scope."""
    context = RequestContext()
    scope[KEY] = context
    return context


def context_of(scope: Scope) -> RequestContext:
    """The scope's context; begun here where no middleware did."""
    found = scope.get(KEY)
    return found if isinstance(found, RequestContext) else begin_context(scope)
