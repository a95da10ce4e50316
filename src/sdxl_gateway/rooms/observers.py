"""The listeners: metrics, logs, audit, traces, feedback, and the server's status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sdxl_gateway.admission.rollouts import arms_of
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.config import Settings
from sdxl_gateway.core.listeners import Listener, Listeners
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.gateway.pauses import Pauses
from sdxl_gateway.gateway.status import ServerStatus
from sdxl_gateway.rooms.persistence import Persistence
from sdxl_gateway.storage.audit_texts import AuditTexts
from sdxl_gateway.storage.feedback import FeedbackStore
from sdxl_gateway.telemetry.audit.writer import Audit, audit_of
from sdxl_gateway.telemetry.logs import log_answer, log_engine, log_moderated
from sdxl_gateway.telemetry.metrics import Metrics
from sdxl_gateway.telemetry.traces.listener import TraceListener
from sdxl_gateway.telemetry.traces.open import open_traces


def open_metrics(settings: Settings, checkpoints: CheckpointCatalog) -> Metrics:
    """Opened before the other listeners, so that what is opened in between can report to it."""
    labels = settings.telemetry
    metrics = Metrics(settings.model_names, labels.lora_label_limit, checkpoints, labels.checkpoint_label_limit)
    metrics.know_arms(arms_of(settings))
    return metrics


@dataclass(frozen=True, slots=True)
class Observers:
    """All listeners; events go to `listeners`, which passes them on."""

    metrics: Metrics
    audit: Audit | None
    texts: AuditTexts
    traces: TraceListener | None
    feedback: FeedbackStore
    pauses: Pauses
    status: ServerStatus
    listeners: Listeners

    @classmethod
    def open(
        cls,
        settings: Settings,
        persistence: Persistence,
        metrics: Metrics,
        library: ModelLibrary,
        more: Iterable[Listener],
    ) -> Self:
        """`more` are listeners to add."""
        texts = AuditTexts(persistence.database, persistence.seal)
        audit, traces = audit_of(settings, texts.keep), open_traces(settings.traces)
        if audit is not None:
            metrics.audit.health = lambda: audit.health
        feedback = FeedbackStore(persistence.database, persistence.seal)
        pauses, status = Pauses(settings.guard.unready_seconds), ServerStatus()
        always = metrics.on_event, library.on_event, feedback.on_event, pauses.on_event, status.on_event
        optional = (one.on_event for one in (audit, traces) if one is not None)
        listeners = Listeners(*always, log_answer, log_engine, log_moderated, *optional, *more)
        return cls(metrics, audit, texts, traces, feedback, pauses, status, listeners)
