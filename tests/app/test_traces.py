"""One trace across the HTTP process, the queue and an engine process, as an OTLP collector receives it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Egress, Settings, Traces, Webhooks
from sdxl_gateway.core.errors import TracesProblem
from sdxl_gateway.core.trace import Trace
from sdxl_gateway.telemetry.traces.open import open_traces
from tests.kit.fake_server import backend
from tests.kit.other_server import OtherServer, other_server, saying
from tests.kit.serving import served, served_by

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PARENTS = {
    "images.generations": "",
    "admission": "images.generations",
    "paint": "images.generations",
    "queue": "paint",
    "load": "paint",
    "image": "paint",
    "encode": "image",
    "steps": "image",
    "decode": "image",
    "finish": "image",
    "inspect": "image",
    "encode_file": "image",
}


def collected(collector: OtherServer) -> dict[str, tuple[str, str, str]]:
    """Trace, span and parent of each span that came, by its name."""
    pytest.importorskip("opentelemetry.proto", reason="the extra `otel` is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    bodies = [ExportTraceServiceRequest.FromString(body) for body in collector.bodies]
    scopes = [scope for body in bodies for resource in body.resource_spans for scope in resource.scope_spans]
    spans = [span for scope in scopes for span in scope.spans]
    return {one.name: (one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()) for one in spans}


def to(collector: OtherServer) -> Traces:
    return Traces(endpoint=collector.url("/v1/traces"))


async def test_a_pictures_trace_crosses_to_the_engine_process_and_back(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    async with other_server({"/v1/traces": saying(b"")}) as collector:
        async with served_by(backend, tmp_path, traces=to(collector)) as client:
            asked = {"prompt": "a fox", "steps": 3, "size": "256x256"}
            answer = await client.post("/v1/images/generations", json=asked, headers={"traceparent": CALLER})
            assert answer.status_code == 200
        found = collected(collector)
    ids = {name: span for name, (_, span, _) in found.items()}
    caller = Trace.read(CALLER)
    assert caller is not None
    assert {trace for trace, _, _ in found.values()} == {caller.trace_id}
    assert {name: parent for name, (_, _, parent) in found.items()} == {
        name: ids.get(parent, caller.span_id) for name, parent in PARENTS.items()
    }


async def test_a_stored_jobs_webhook_says_whose_trace_it_belongs_to(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    came = asyncio.Event()

    async def hook(writer: asyncio.StreamWriter) -> None:
        await saying(b"")(writer)
        came.set()

    async with other_server({"/v1/traces": saying(b"")}) as collector, other_server({"/hook": hook}) as receiver:
        outside: dict[str, Any] = {
            "egress": Egress(private_hosts=(receiver.host,)),
            "webhooks": Webhooks(timeout_seconds=5.0),
        }
        async with served(tmp_path, traces=to(collector), **outside) as client:
            asked = {"prompt": "a fox", "steps": 2, "size": "256x256", "webhook_url": receiver.url("/hook")}
            accepted = await client.post(
                "/v1/images/generations",
                json=asked,
                headers={"traceparent": CALLER, "tracestate": "vendor=1", "prefer": "respond-async"},
            )
            assert accepted.status_code == 202
            async with asyncio.timeout(20):
                await came.wait()
        found = collected(collector)
    (told,) = [line.partition(": ")[2] for line in receiver.heads[0].split("\r\n") if line.startswith("traceparent")]
    sent, caller = Trace.read(told), Trace.read(CALLER)
    assert sent is not None
    assert caller is not None
    assert {trace for trace, _, _ in found.values()} == {sent.trace_id} == {caller.trace_id}
    assert found["webhook"][1] == sent.span_id
    assert {"paint", "image", "encode_file"} <= found.keys()


async def test_nothing_is_traced_unless_it_is_asked_for(tmp_path: Path) -> None:
    before = set(sys.modules)
    async with other_server({"/hook": saying(b"")}) as receiver:
        outside: dict[str, Any] = {"egress": Egress(private_hosts=(receiver.host,))}
        async with served(tmp_path, **outside) as client:
            asked = {"prompt": "a fox", "image_url": receiver.url("/hook"), "size": "256x256"}
            await client.post("/v1/images/edits", json=asked, headers={"traceparent": CALLER})
    assert not any("traceparent" in head.lower() for head in receiver.heads)
    assert not {name for name in set(sys.modules) - before if name.startswith("opentelemetry")}


def test_a_server_without_the_extra_says_which_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(TracesProblem, match=r"sdxl-gateway\[otel\]"):
        open_traces(Settings(traces=Traces(endpoint="http://localhost:4318/v1/traces")).traces)
