"""Trace: a position in a distributed trace, as in W3C's `traceparent` header; the current one is kept by task.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

MOST_STATE_CHARS = 512
"""The longest `tracestate` header that is passed on."""
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """A span: the ids of its trace (32 hex digits), of itself (16) and of its parent, empty for the first span.

    A span that is not `sampled` is not recorded; `state` is the `tracestate` of other systems.
    """

    trace_id: str
    span_id: str
    sampled: bool = True
    parent_id: str = ""
    state: str = ""

    @classmethod
    def read(cls, parent: str, state: str = "") -> Trace | None:
        """The position that the two headers give; None without a valid `traceparent`."""
        found = _PARENT.fullmatch(parent.strip())
        if found is None or found[1] == "ff" or (found[1] == "00" and found[5]) or not _told(found[2], found[3]):
            return None
        state = state.strip()
        kept = state if state.isascii() and state.isprintable() and len(state) <= MOST_STATE_CHARS else ""
        return cls(found[2], found[3], sampled=bool(int(found[4], 16) & 1), state=kept)

    @property
    def header(self) -> str:
        """The `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers for a request to another server."""
        return {"traceparent": self.header, **({"tracestate": self.state} if self.state else {})}

    def child(self) -> Trace:
        """A new span inside this one."""
        return replace(self, span_id=secrets.token_hex(8), parent_id=self.span_id)


def _told(trace_id: str, span_id: str) -> bool:
    return trace_id.strip("0") != "" and span_id.strip("0") != ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Begins traces, and samples the share `ratio` (0 to 1) of them."""

    ratio: float

    def begin(self) -> Trace:
        """The first span of a new trace; it is sampled by the trace's id, so that other systems agree."""
        trace_id = secrets.token_hex(16)
        return Trace(trace_id, secrets.token_hex(8), sampled=int(trace_id[16:], 16) < self.ratio * 2**64)

    def under(self, parent: Trace | None) -> Trace:
        """A span inside `parent`, sampled as that is; the first span of a new trace without a parent."""
        return self.begin() if parent is None else parent.child()


@dataclass(frozen=True, slots=True)
class StageEnded:
    """A stage of a job whose trace is sampled, from `began` to `ended` (unix seconds); of its image `index`, if of one.

    `mates` are the traces of other jobs whose steps were batched with its own.
    """

    job_id: str
    stage: str
    began: float
    ended: float
    index: int | None = None
    mates: tuple[Trace, ...] = ()


_CURRENT: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace | None:
    """The position of the current task in its trace; None when it is not traced."""
    return _CURRENT.get()


@contextmanager
def following(trace: Trace | None) -> Iterator[None]:
    """The context belongs to `trace`."""
    token = _CURRENT.set(trace)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def staged(tell: Callable[[StageEnded], None], job_id: str, stage: str, index: int | None = None) -> Iterator[None]:
    """Report how long the context took, if the current task's trace is sampled."""
    trace = current()
    if trace is None or not trace.sampled:
        yield
        return
    began = time.time()
    yield
    tell(StageEnded(job_id, stage, began, time.time(), index))
