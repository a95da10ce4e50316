"""The type of a row of the route table: one verb of one address, and all that the server knows of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sdxl_gateway.core.caller import Role

Endpoint = Callable[[Request], Awaitable[Response]]
Schema = dict[str, Any]

EVENT_SCHEMA: Schema = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["event", "data"],
}
"""Each event of a stream, as OpenAPI 3.1 is read: it has no word for the stream as a whole."""

_CONVERTOR = re.compile(r":[a-z]+(?=})")


class Access(Enum):
    """Who may use a route: anybody, or holders of a key for painting, for LoRAs, for metrics, or for everything."""

    OPEN = "open"
    KEY = "key"
    LORAS = "loras"
    METRICS = "metrics"
    ADMIN = "admin"

    @property
    def role(self) -> Role | None:
        """What a key must be for; None where none is needed."""
        return _ROLES.get(self)


_ROLES = {
    Access.KEY: Role.GENERATE,
    Access.LORAS: Role.MANAGE_LORAS,
    Access.METRICS: Role.METRICS,
    Access.ADMIN: Role.ADMIN,
}


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """How much a request may send, and how long the whole of it, or (`each_piece`) each piece of it, may take."""

    max_bytes: int
    seconds: float
    each_piece: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as the OpenAPI document describes it: of JSON by its type, of anything else by its media types."""

    about: str
    json: Any = None
    content: Schema = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """What the OpenAPI document holds of a route beyond its row.

    `name` is the operation's id, `replies` and `errors` go by status, `reads` is the body by media type, which may be
    left out where `needs_body` is False, and `query` holds a schema for each parameter. Refusals of a missing key or
    admin key are added by the row's access.
    """

    name: str
    replies: Mapping[int, Reply]
    errors: tuple[int, ...] = ()
    reads: Schema | None = None
    needs_body: bool = True
    query: Schema = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """One row: `paths` are spellings of one address, of which the first is documented.

    `label` is the request's name in metrics and logs, a `paints` route is one whose refusals are counted as such,
    `body` replaces the server's own limit, and `headers` are the answer's own, each with its meaning.
    """

    verb: str
    paths: tuple[str, ...]
    endpoint: Endpoint
    label: str
    summary: str
    description: Description
    access: Access = Access.KEY
    body: BodyLimit | None = None
    paints: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def acts(self) -> bool:
        """It changes something, or shows operators what is not their own."""
        return self.verb != "GET" or self.access is Access.ADMIN

    @property
    def documented_path(self) -> str:
        """The address as people read it: `/v1/models/{model}`."""
        return _CONVERTOR.sub("", self.paths[0])
