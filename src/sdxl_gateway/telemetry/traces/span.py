"""Span: an operation in a trace, with its time and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sdxl_gateway.core.trace import Trace


@dataclass(frozen=True, slots=True)
class Span:
    """An operation from `began` to `ended` (unix seconds), at the position `trace`; `links` are spans of other traces.

    `kind` is "server" for requests to this server, "client" for its requests to others. `error` is empty if it
    succeeded.
    """

    name: str
    trace: Trace
    began: float
    ended: float
    about: Mapping[str, str | int | float] = field(default_factory=dict)
    links: tuple[Trace, ...] = ()
    kind: Literal["server", "client", "internal"] = "internal"
    error: str = ""


class Spans(Protocol):
    """A destination of spans."""

    def __call__(self, span: Span) -> None:
        """Export a finished span; returns at once."""

    def close(self) -> None:
        """Send what is not sent yet, or give up."""
