"""Takes the rows of one resource, gives them as rows of the route table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sdxl_gateway.api.http.route import Access, BodyLimit, Description, Endpoint, Route
from sdxl_gateway.api.services import Services

Paths = Callable[[str], tuple[str, ...]]
"""From the end of an address to all its spellings, see paths.py."""
FORM_OVERHEAD_BYTES = 64 * 1024
"""What a form may be larger than the file in it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A Route whose endpoint is still to be made; `path` is the end of its address."""

    verb: str
    path: str
    endpoint: Callable[[Services], Endpoint]
    summary: str
    description: Description
    access: Access = Access.KEY
    body: BodyLimit | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def route(self, services: Services, label: str, paths: Paths) -> Route:
        """The row of the table."""
        return Route(
            self.verb,
            paths(self.path),
            self.endpoint(services),
            label,
            self.summary,
            self.description,
            self.access,
            self.body,
            headers=self.headers,
        )


def resource(services: Services, label: str, paths: Paths, *rows: Row) -> tuple[Route, ...]:
    """Every row under one label, each at the spellings that `paths` gives of its address."""
    return tuple(row.route(services, label, paths) for row in rows)


def upload_limit(services: Services, max_file_bytes: int) -> BodyLimit:
    """For a form, or a bare body, with a file of at most so many bytes, which may take long to come."""
    most_bytes = max_file_bytes + FORM_OVERHEAD_BYTES
    return BodyLimit(most_bytes, services.settings.server.receive_timeout_seconds, each_piece=True)
