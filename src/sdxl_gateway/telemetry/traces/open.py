"""Opens the listener for traces; OpenTelemetry is only imported if spans are exported."""

from __future__ import annotations

from sdxl_gateway.config import Traces
from sdxl_gateway.core.errors import TracesProblem
from sdxl_gateway.telemetry.traces.listener import TraceListener


def open_traces(section: Traces) -> TraceListener | None:
    """The listener; None without tracing. Raises TracesProblem."""
    if section.endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from sdxl_gateway.telemetry.traces.otel import OtelSpans
    except ImportError as error:
        raise TracesProblem(f"traces.endpoint: needs `pip install 'sdxl-gateway[otel]'` ({error}).") from error
    exporter = BatchSpanProcessor(OTLPSpanExporter(section.endpoint))
    return TraceListener(OtelSpans(exporter, section.service_name))
