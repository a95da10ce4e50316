"""Stored jobs as JSON for their owners, and as events for clients that follow them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from typing_extensions import TypedDict

from sdxl_gateway.api.http.errors import ErrorDetail, error_detail
from sdxl_gateway.api.replies.events import LINE_END
from sdxl_gateway.api.replies.images import ImagesResponse, as_base64
from sdxl_gateway.api.replies.pages import ListPage, ends
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.delivery.deliver import Partial
from sdxl_gateway.gateway.job_now import JobNow
from sdxl_gateway.gateway.live_job import News
from sdxl_gateway.gateway.packed import unpack_ask, unpack_error, unpack_result

LAST_EVENT = "last"
"""The id of a job's last event; a client that returns with it has received everything."""
State = Literal["queued", "in_progress", "completed", "failed", "cancelled"]


class Preview(TypedDict):
    """The latest partial image, of the picture that will be at `index` in the result."""

    index: int
    partial_image_index: int
    b64_json: str


class JobCard(TypedDict):
    """A job; times are unix seconds. `position` is how many jobs are ahead of it while it waits, null if not looked up.

    While it is painted, `step` and `steps` count over all its pictures. `attempts` is how often it was started.
    """

    id: str
    object: Literal["job"]
    operation: Operation
    model: str
    tenant: str
    priority: str
    state: State
    attempts: int
    position: int | None
    step: int | None
    steps: int | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    batch: str | None
    custom_id: str | None
    webhook_url: str | None
    error: ErrorDetail | None


class JobReply(JobCard):
    """A job with its latest partial image, if such were requested, and its result, the same object that a synchronous
    request returns; `warnings` say where the pictures differ from what was asked."""

    preview: Preview | None
    result: ImagesResponse | None
    warnings: list[str]


class JobList(ListPage):
    """A page of jobs, newest first; pass `last_id` as `after` for the next page."""

    data: list[JobCard]


def job_card(now: JobNow) -> JobCard:
    """The job as lists show it."""
    job, live = now.job, now.live
    started = job.started if live is None else live.started
    return {
        "id": job.id,
        "object": "job",
        "operation": job.operation,
        "model": job.model,
        "tenant": job.tenant,
        "priority": job.priority.word,
        "state": now.state.value,
        "attempts": job.attempts,
        "position": now.ahead,
        "step": None if live is None else live.step,
        "steps": None if live is None else live.steps,
        "created_at": int(job.created),
        "started_at": None if started is None else int(started),
        "finished_at": None if job.finished is None else int(job.finished),
        "batch": job.batch,
        "custom_id": job.custom_id,
        "webhook_url": job.webhook_url,
        "error": None if job.error is None else error_detail(unpack_error(job.error)),
    }


def job_reply(now: JobNow, result: ImagesResponse | None) -> JobReply:
    """The job in full; `result` is a completed job's, from job_images.py."""
    done = () if now.job.result is None else unpack_result(now.job.result).done.warnings
    return {
        **job_card(now),
        "preview": None if now.live is None or now.live.look is None else _preview(now.live.look),
        "result": result,
        "warnings": [*unpack_ask(now.job.ask).warnings, *done],
    }


def _preview(look: Partial) -> Preview:
    return {"index": look.index, "partial_image_index": look.partial_index, "b64_json": as_base64(look.data)}


def job_list(page: Sequence[JobNow], *, has_more: bool) -> JobList:
    """A page of jobs as a JSON object."""
    return {
        "object": "list",
        "data": [job_card(now) for now in page],
        **ends([one.job.id for one in page], has_more=has_more),
    }


def news_event(job_id: str, news: News) -> bytes:
    """A progress event of a running job; its id is what a reconnecting client sends as `Last-Event-ID`."""
    told: dict[str, Any] = {"job_id": job_id, "step": news.step, "steps": news.steps}
    if news.look is not None:
        told |= _preview(news.look)
    return _event(f"job.{news.kind}", told, str(news.id))


def place_event(now: JobNow) -> bytes:
    """The job's queue position. It has no id: a reconnecting client gets the position of that moment."""
    return _event("job.queued", {"job_id": now.job.id, "position": now.ahead}, None)


def last_event(told: JobReply) -> bytes:
    """How the job ended, with the job in full."""
    return _event(f"job.{told['state']}", {"job_id": told["id"], "job": told}, LAST_EVENT)


def _event(name: str, payload: dict[str, Any], event_id: str | None) -> bytes:
    numbered = "" if event_id is None else f"id: {event_id}{LINE_END}"
    data = json.dumps({"type": name, **payload}, allow_nan=False)
    return f"{numbered}event: {name}{LINE_END}data: {data}{LINE_END}{LINE_END}".encode()
