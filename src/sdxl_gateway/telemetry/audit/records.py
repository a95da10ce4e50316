"""Turns events into records of the audit log: who did what to whose things, when, and with which outcome."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sdxl_gateway.core import events
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.safety import Moderated
from sdxl_gateway.core.texts import Texts
from sdxl_gateway.telemetry.audit.line import Record

REFUSED = (401, 403)
UNKNOWN = 401
UNKNOWN_SECONDS = 1.0


Written = tuple[Record, Texts | None]


class Records:
    """Keeps running jobs, and the number of unknown callers refused since the last record of them."""

    def __init__(self, *, prompts: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._prompts = prompts
        self._clock = clock
        self._jobs: dict[str, events.JobAccepted] = {}
        self._unknown_at = float("-inf")
        self._unknown = 0

    def of(self, event: events.Event) -> Written | None:
        """The record of an event; None if there is none."""
        match event:
            case events.JobAccepted():
                self._jobs[event.job_id] = event
            case events.Finished() | events.Failed():
                return self._job(event)
            case _:
                record = self._record(event)
                return None if record is None else (record, None)
        return None

    def _record(self, event: events.Event) -> Record | None:
        match event:
            case events.Acted():
                return self._acted(event)
            case events.RequestAnswered():
                return self._answered(event)
            case events.SettingsRead():
                return Record(self._clock(), "settings.read", outcome="done" if event.in_force else "refused")
            case Moderated():
                return self._moderated(event)
            case events.Measured(engine_id=engine_id, measurement=events.Held(reason=reason)):
                return Record(self._clock(), "engine.held", target=engine_id, outcome=reason or "done")
            case events.Forgotten():
                return Record(self._clock(), "retention.swept", target=event.kind, more={"count": event.count})
            case events.EngineOpened() | events.EngineLost():
                word = "engine.opened" if isinstance(event, events.EngineOpened) else "engine.lost"
                return Record(self._clock(), word, target=event.engine_id)
            case events.DecoderLost():
                return Record(self._clock(), "decoder.lost", outcome=event.reason)
            case _:
                return None

    def _acted(self, event: events.Acted) -> Record:
        actor = event.actor
        return Record(
            self._clock(),
            event.action,
            event.tenant,
            actor.tenant,
            actor.key_id,
            event.target,
            request=event.request_id,
            more=event.about,
        )

    def _moderated(self, event: Moderated) -> Record:
        more = {"stage": event.stage, "categories": list(event.categories), "review": event.review}
        tenant = event.tenant
        return Record(self._clock(), "moderated", tenant, tenant, event.key_id, event.job_id, event.action, more=more)

    def _answered(self, event: events.RequestAnswered) -> Record | None:
        if event.status == UNKNOWN:
            return self._turned_away(event)
        if not event.acting and event.status not in REFUSED:
            return None
        more = {"status": event.status, "model": event.model} if event.model else {"status": event.status}
        return Record(
            self._clock(),
            "request",
            event.tenant,
            event.tenant,
            event.key_id,
            event.operation,
            _outcome(event),
            event.request_id,
            more,
        )

    def _turned_away(self, event: events.RequestAnswered) -> Record | None:
        """Anybody can cause these: a line a second tells how many there were."""
        self._unknown += 1
        if self._clock() < self._unknown_at + UNKNOWN_SECONDS:
            return None
        return self.unknown(event)

    def unknown(self, event: events.RequestAnswered | None = None) -> Record | None:
        """The record of unknown callers refused since the last one; None if there were none."""
        if not self._unknown:
            return None
        times, self._unknown, self._unknown_at = self._unknown, 0, self._clock()
        record = Record(
            self._unknown_at, "request", outcome="invalid_api_key", more={"status": UNKNOWN, "times": times}
        )
        return record if event is None else replace(record, target=event.operation, request=event.request_id)

    def _job(self, event: events.Finished | events.Failed) -> Written | None:
        job = self._jobs.pop(event.job_id, None)
        if job is None:
            return None
        texts = self._texts(job) if self._prompts else None
        more = _made(job, event) | ({} if texts is None else {"texts": texts.digest})
        outcome = "done" if isinstance(event, events.Finished) else event.error.code or type(event.error).__name__
        record = Record(self._clock(), "job", job.tenant, job.tenant, job.key_id, event.job_id, outcome, more=more)
        return record, texts

    def _texts(self, job: events.JobAccepted) -> Texts:
        recipe: Recipe = job.recipe
        salt = secrets.token_hex(16)
        return Texts(job.job_id, job.tenant, self._clock(), salt, recipe.prompt, recipe.negative_prompt or "")


def _outcome(event: events.RequestAnswered) -> str:
    if event.code is not None:
        return event.code
    return "done" if event.status < 400 else str(event.status)


def _made(job: events.JobAccepted, event: events.Finished | events.Failed) -> dict[str, Any]:
    seconds = {"paint_seconds": round(event.paint_seconds, 3)} if isinstance(event, events.Finished) else {}
    return {"model": job.recipe.checkpoint, "loras": list(job.loras), "images": job.recipe.count, **seconds}
