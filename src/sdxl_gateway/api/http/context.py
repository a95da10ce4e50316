"""Takes an ASGI scope, gives the Visit: what this server notes about one request while it answers it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from starlette.types import Scope

from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import GatewayError

KEY = "sdxl_gateway.visit"
_OPERATIONS = ("images/generations", "images/edits", "images/variations")
_PAINTING = frozenset(operation.replace("/", ".") for operation in _OPERATIONS)
_PLACES = ("models", "loras", "files", "healthz", "readyz", "metrics", "openapi.json")


@dataclass(slots=True)
class RequestContext:
    """`started` is `time.monotonic()` seconds; `error` is what was answered instead of what was asked for."""

    operation: str
    request_id: str = field(default_factory=lambda: "req_" + secrets.token_hex(16))
    started: float = field(default_factory=time.monotonic)
    caller: Caller = field(default_factory=Caller)
    model: str = ""
    ignored: tuple[str, ...] = ()
    error: GatewayError | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def paints(self) -> bool:
        """It came to one of the routes that paint."""
        return self.operation in _PAINTING


def begin_context(scope: Scope) -> RequestContext:
    context = RequestContext(operation_of(str(scope.get("path", ""))))
    scope[KEY] = context
    return context


def context_of(scope: Scope) -> RequestContext:
    found = scope.get(KEY)
    return found if isinstance(found, RequestContext) else begin_context(scope)


def operation_of(path: str) -> str:
    """A label out of a small fixed set, whatever was asked."""
    for operation in _OPERATIONS:
        if path.endswith("/" + operation):
            return operation.replace("/", ".")
    first = path.removeprefix("/v1").lstrip("/").split("/", 1)[0]
    return first if first in _PLACES else "other"
