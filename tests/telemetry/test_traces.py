"""The spans of a gateway's jobs, by OpenTelemetry's own exporter into memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.events import Event, RequestAnswered, StageEnded
from sdxl_gateway.core.outside import WebhookTried
from sdxl_gateway.core.trace import Sampling, Trace, following
from sdxl_gateway.telemetry.traces.listener import TraceListener
from tests.kit.gateway import gateway_kit

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sdxl_gateway.telemetry.traces.otel import OtelSpans

ENGINE_STAGES = ["encode", "steps", "decode"]
DOOR_STAGES = ["finish", "inspect", "encode_file"]


@dataclass
class Recorded:
    """What a TraceListener exported."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        self.listener = TraceListener(OtelSpans(SimpleSpanProcessor(self.exporter), "painter"))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def inside(self, parent: ReadableSpan) -> list[str]:
        within = [span for span in self.spans if span.parent and span.parent.span_id == parent.context.span_id]
        return [span.name for span in sorted(within, key=lambda span: (span.start_time or 0, span.end_time or 0))]


@contextmanager
def request(sampling: float = 1.0) -> Iterator[Trace]:
    trace = Sampling(sampling).begin()
    with following(trace):
        yield trace


async def test_one_trace_holds_a_pictures_whole_way(tmp_path: Path) -> None:
    recorded = Recorded()
    async with gateway_kit(tmp_path, listeners=[recorded.listener.on_event]) as store:
        with request() as trace:
            await store.paint("a fox", model="demo+sunset", n=2)
    assert {f"{span.context.trace_id:032x}" for span in recorded.spans} == {trace.trace_id}
    (paint,) = recorded.named("paint")
    assert paint.parent is not None
    assert f"{paint.parent.span_id:016x}" == trace.span_id
    assert sorted(recorded.inside(paint)) == ["image", "image", "load", "queue"]
    for image in recorded.named("image"):
        assert recorded.inside(image) == [*ENGINE_STAGES, *DOOR_STAGES]
    assert paint.attributes is not None
    assert (paint.attributes["checkpoint"], paint.attributes["loras"], paint.attributes["images"]) == (
        "demo",
        "sunset",
        2,
    )
    assert paint.resource.attributes["service.name"] == "painter"
    (admission,) = recorded.named("admission")
    assert admission.parent == paint.parent
    assert (admission.end_time or 0) <= (paint.start_time or 0)


async def test_whose_steps_were_taken_together_is_linked_both_ways(tmp_path: Path) -> None:
    recorded = Recorded()

    async def painted(steps: int) -> Trace:
        with request() as trace:
            await store.paint("step-seconds=0.01", steps=steps)
        return trace

    async with gateway_kit(tmp_path, listeners=[recorded.listener.on_event]) as store:
        traces = {trace.trace_id for trace in await asyncio.gather(painted(20), painted(20))}
    assert len(traces) == 2
    for steps in recorded.named("steps"):
        (mate,) = steps.links
        assert {f"{mate.context.trace_id:032x}"} == traces - {f"{steps.context.trace_id:032x}"}
        assert mate.context.span_id in {span.context.span_id for span in recorded.named("paint")}
    assert not any(span.links for span in recorded.spans if span.name != "steps")


async def test_a_job_that_fails_says_so_and_has_what_came_before(tmp_path: Path) -> None:
    recorded = Recorded()
    async with gateway_kit(tmp_path, listeners=[recorded.listener.on_event]) as store:
        with request(), pytest.raises(EngineFault):
            await store.paint("raise-in-step")
    (paint,) = recorded.named("paint")
    assert (paint.status.is_ok, paint.status.description) == (False, "EngineFault")
    assert [recorded.inside(image) for image in recorded.named("image")] == [["encode"]]


@pytest.mark.parametrize("sampling", [None, 0.0])
async def test_what_is_not_sampled_costs_no_event_and_no_span(tmp_path: Path, sampling: float | None) -> None:
    recorded, heard = Recorded(), list[Event]()
    async with gateway_kit(tmp_path, listeners=[recorded.listener.on_event, heard.append]) as store:
        with following(None if sampling is None else Sampling(sampling).begin()):
            await store.paint()
    assert recorded.spans == []
    assert not any(isinstance(event, StageEnded) for event in heard)


def test_requests_and_webhooks_are_told_when_they_end() -> None:
    recorded, trace = Recorded(), Sampling(1.0).begin()
    answered = RequestAnswered("generate", "demo", 503, 2.0, 0, "req_1", "me", code="unavailable", trace=trace)
    recorded.listener.on_event(answered)
    recorded.listener.on_event(WebhookTried("delivered", 0.5, trace.child()))
    request_span, webhook = recorded.spans
    assert (request_span.kind.name, request_span.parent, request_span.status.description) == (
        "SERVER",
        None,
        "unavailable",
    )
    assert (request_span.end_time or 0) - (request_span.start_time or 0) == pytest.approx(2e9, rel=1e-3)
    assert webhook.kind.name == "CLIENT"
    assert webhook.parent is not None
    assert webhook.parent.span_id == request_span.context.span_id
    for unsampled in (None, Sampling(0.0).begin()):
        recorded.listener.on_event(WebhookTried("delivered", 0.5, unsampled))
    assert len(recorded.spans) == 2
