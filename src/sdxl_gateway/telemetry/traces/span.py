"""Span: a stretch of time in a trace, and what it was about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sdxl_gateway.core.trace import Trace


@dataclass(frozen=True, slots=True)
class Span:
    """From `began` to `ended`, unix seconds, at its place `trace`; `links` are spans of other traces.

    `kind` is "server" for what a caller asked of this server, "client" for what it asked of another one. `error` says
    what went wrong, empty where nothing did.
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
    """Where spans go."""

    def __call__(self, span: Span) -> None:
        """The span is over; returns at once."""

    def close(self) -> None:
        """What has not gone yet goes, or is given up."""
