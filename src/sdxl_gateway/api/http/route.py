"""Route: a row of the route table, with one method of one address and all that the server knows about it."""

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
"""The schema of each event of a stream; OpenAPI 3.1 cannot describe the stream as a whole."""

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
        """The role that a key must have; None if no key is needed."""
        return _ROLES.get(self)


_ROLES = {
    Access.KEY: Role.GENERATE,
    Access.LORAS: Role.MANAGE_LORAS,
    Access.METRICS: Role.METRICS,
    Access.ADMIN: Role.ADMIN,
}


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The size limit of a body, and the timeout of the whole body or (`each_piece`) of each piece of it."""

    max_bytes: int
    seconds: float
    each_piece: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer in the OpenAPI document: JSON by its type, anything else by its media types."""

    about: str
    json: Any = None
    content: Schema = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """What the OpenAPI document says about a route beyond its row.

    `name` is the operation's id, `replies` and `errors` are by status, `reads` is the body by media type, which is
    optional unless `needs_body`, and `query` has a schema for each parameter. Refusals for lack of a key, or of an
    admin's key, follow from the row's access.
    """

    name: str
    replies: Mapping[int, Reply]
    errors: tuple[int, ...] = ()
    reads: Schema | None = None
    needs_body: bool = True
    query: Schema = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """One row: `paths` are the spellings of one address, of which the first is documented.

    `label` is the request's name in metrics and logs, refusals of a `paints` route are counted as such, `body` replaces
    the server's default limit, and `headers` are the answer's own, each with its meaning.
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
        """Whether it changes something, or shows operators data of others."""
        return self.verb != "GET" or self.access is Access.ADMIN

    @property
    def documented_path(self) -> str:
        """The documented address, such as `/v1/models/{model}`."""
        return _CONVERTOR.sub("", self.paths[0])
