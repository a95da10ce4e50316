"""Exports spans by OpenTelemetry's SDK; the only file that knows it."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace.propagation import Context

from sdxl_gateway import __version__
from sdxl_gateway.core.trace import Trace
from sdxl_gateway.telemetry.traces.span import Span


class OtelSpans:
    """A Spans that hands them to `processor`; only one thread calls it at a time."""

    def __init__(self, processor: SpanProcessor, service_name: str) -> None:
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create({"service.name": service_name, "service.version": __version__}),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("sdxl_gateway", __version__)

    def __call__(self, span: Span) -> None:
        """Export a finished span; returns at once."""
        self._ids.next = span.trace
        told = self._tracer.start_span(
            span.name,
            _parent(span.trace),
            SpanKind[span.kind.upper()],
            {key: value for key, value in span.about.items() if value != ""},
            [Link(_context(trace)) for trace in span.links],
            start_time=_nanoseconds(span.began),
        )
        if span.error:
            told.set_status(Status(StatusCode.ERROR, span.error))
        told.end(_nanoseconds(span.ended))

    def close(self) -> None:
        """Send what is not sent yet, or give up after the exporter's timeout."""
        self._provider.shutdown()


class _GivenIds(IdGenerator):
    """An id generator that returns the ids of the next span, which were assigned when it began."""

    next = Trace("0", "0")

    def generate_trace_id(self) -> int:
        return int(self.next.trace_id, 16)

    def generate_span_id(self) -> int:
        return int(self.next.span_id, 16)


def _parent(trace: Trace) -> Context:
    """The parent's context; empty for a trace's first span."""
    if not trace.parent_id:
        return Context()
    parent: Any = NonRecordingSpan(_context(trace, trace.parent_id))
    return set_span_in_context(parent, Context())


def _context(trace: Trace, span_id: str = "") -> SpanContext:
    state = TraceState.from_header([trace.state])
    place = int(trace.trace_id, 16), int(span_id or trace.span_id, 16)
    return SpanContext(*place, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED), trace_state=state)


def _nanoseconds(unix_seconds: float) -> int:
    return int(unix_seconds * 1e9)
