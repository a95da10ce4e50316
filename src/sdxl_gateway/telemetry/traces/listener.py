"""Makes spans from the events of requests and jobs whose traces are sampled."""

from __future__ import annotations

import time
from collections.abc import Callable

from sdxl_gateway.core.events import Event, Failed, Finished, JobAccepted, RequestAnswered, StageEnded, Started
from sdxl_gateway.core.outside import WebhookTried
from sdxl_gateway.core.trace import Trace
from sdxl_gateway.telemetry.traces.job_spans import JobTold
from sdxl_gateway.telemetry.traces.span import Span, Spans


class TraceListener:
    """A Listener. Requests and webhook attempts are reported when they end, a job as a whole with its last event.

    `clock` returns unix seconds.
    """

    def __init__(self, spans: Spans, clock: Callable[[], float] = time.time) -> None:
        self._export = spans
        self.close = spans.close
        self._clock = clock
        self._jobs: dict[str, JobTold] = {}

    def on_event(self, event: Event) -> None:
        """Note the event."""
        match event:
            case RequestAnswered(trace=Trace(sampled=True) as trace):
                self._export(_request(event, trace, self._clock()))
            case WebhookTried(trace=Trace(sampled=True) as trace):
                now = self._clock()
                about = {"webhook.outcome": event.outcome}
                self._export(Span("webhook", trace, now - event.seconds, now, about, kind="client"))
            case JobAccepted(trace=Trace(sampled=True)):
                self._jobs[event.job_id] = JobTold(event, self._clock())
            case Started() | StageEnded() if event.job_id in self._jobs:
                self._jobs[event.job_id].hear(event)
            case Finished() | Failed() if event.job_id in self._jobs:
                for span in self._jobs.pop(event.job_id).spans(event, self._clock()):
                    self._export(span)
            case _:
                pass


def _request(event: RequestAnswered, trace: Trace, now: float) -> Span:
    """The attributes of a request, without prompts and keys; named by OpenTelemetry's conventions, if there are any."""
    about: dict[str, str | int | float] = {
        "http.response.status_code": event.status,
        "http.response.body.size": event.response_bytes,
        "request.id": event.request_id,
        "tenant": event.tenant,
        "model": event.model,
    }
    broken = event.code or str(event.status) if event.status >= 500 else ""
    return Span(event.operation, trace, now - event.seconds, now, about, kind="server", error=broken)
