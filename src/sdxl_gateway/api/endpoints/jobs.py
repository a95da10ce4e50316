"""Accepts requests as jobs; lists, shows, follows and cancels jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.pages import PAGE_QUERY, Page
from sdxl_gateway.api.asks.parse import ReadAsk
from sdxl_gateway.api.asks.preferences import RESPOND_ASYNC, refuse_stream
from sdxl_gateway.api.asks.values import choice
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.links import links_of
from sdxl_gateway.api.endpoints.seen import OF_TENANT, caller_of, tenant_asked
from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.route import EVENT_SCHEMA, Description, Endpoint, Reply
from sdxl_gateway.api.replies.events import LINE_END
from sdxl_gateway.api.replies.images import ignored_header
from sdxl_gateway.api.replies.job_images import images_of
from sdxl_gateway.api.replies.jobs import (
    LAST_EVENT,
    JobList,
    JobReply,
    job_list,
    job_reply,
    last_event,
    news_event,
    place_event,
)
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.stored_job import JobKey, JobState
from sdxl_gateway.gateway.job_now import JobNow
from sdxl_gateway.gateway.live_job import News, NewsId
from sdxl_gateway.storage.job_table import Filter

_STATE = Field("state", Kind.CHOICE, "Where they stand.", choices=tuple(JobState))
ACCEPTED = Reply("The job, if the request had `Prefer: respond-async`.", JobReply)
LIST_JOBS = Description(
    "listJobs",
    {200: Reply("A page of the jobs.", JobList)},
    errors=(400,),
    query={
        **PAGE_QUERY,
        "state": {"type": "string", "enum": list(JobState)},
        "tenant": OF_TENANT,
    },
)
RETRIEVE_JOB = Description("retrieveJob", {200: Reply("The job.", JobReply)}, errors=(404,))
CANCEL_JOB = Description("cancelJob", {200: Reply("The job, which has ended.", JobReply)}, errors=(404,))
_NAMES = ("queued", "in_progress", "progress", "partial_image", "completed", "failed", "cancelled")
FOLLOW_JOB = Description(
    "followJob",
    {
        200: Reply(
            "The job's events until it ends; `Last-Event-ID` resumes after that event.",
            content={"text/event-stream": {"schema": EVENT_SCHEMA, "x-events": [f"job.{name}" for name in _NAMES]}},
        ),
        204: Reply("The job ended and its last event was already received."),
    },
    errors=(404,),
)


async def accepted(services: Services, request: Request, read: ReadAsk, key: JobKey | None) -> Response:
    """Store the request as a job, with its `key`; the answer is sent once the job is on the disk."""
    refuse_stream(read.ask)
    context = context_of(request.scope)
    tasks = services.tasks
    job = await tasks.submit(read.ask, context.caller, webhook_url=context.caller.webhook_url, key=key)
    return await accepted_before(services, request, read, await tasks.get(job.id, context.caller))


async def accepted_before(services: Services, request: Request, read: ReadAsk, now: JobNow) -> Response:
    """The answer to a request whose job was accepted before, as it stands now."""
    headers = ignored_header(read.ignored) | {
        "location": f"/v1/jobs/{now.job.id}",
        "preference-applied": RESPOND_ASYNC,
    }
    return await _answer(services, request, now, 202, headers)


def list_endpoint(services: Services) -> Endpoint:
    """GET: a page of the tenant's jobs; for an admin of all tenants, or of the one asked for."""

    async def list_jobs(request: Request) -> Response:
        caller, page = caller_of(request), Page.of(request)
        found, more = await services.tasks.page(_asked(request), page.limit, page.after, caller)
        return JSONResponse(job_list(found, has_more=more))

    return list_jobs


def _asked(request: Request) -> Filter:
    state = request.query_params.get("state")
    chosen = None if state is None else JobState(choice(_STATE, state, "state"))
    return Filter(tenant_asked(request, "jobs"), chosen)


def one_endpoint(services: Services) -> Endpoint:
    """GET: one job."""

    async def one_job(request: Request) -> Response:
        now = await services.tasks.get(request.path_params["job_id"], caller_of(request))
        return await _answer(services, request, now)

    return one_job


def cancel_endpoint(services: Services) -> Endpoint:
    """POST: cancel the job, unless it has ended."""

    async def cancel_job(request: Request) -> Response:
        now = await services.tasks.cancel(request.path_params["job_id"], caller_of(request))
        acted(services, request, "job.cancelled", now.job.id, now.job.tenant)
        return await _answer(services, request, now)

    return cancel_job


def events_endpoint(services: Services) -> Endpoint:
    """GET: a stream of the events of one job."""

    async def follow_job(request: Request) -> Response:
        tasks, caller, job_id = services.tasks, caller_of(request), request.path_params["job_id"]
        now, seen = await tasks.get(job_id, caller), request.headers.get("last-event-id")
        if now.job.state.over and seen == LAST_EVENT:
            return Response(status_code=204)
        return EventSourceResponse(
            _frames(services, request, job_id, tasks.events(job_id, caller, NewsId.of(seen))),
            ping=services.ping_seconds,
            sep=LINE_END,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep=LINE_END),
        )

    return follow_job


async def _frames(
    services: Services, request: Request, job_id: str, events: AsyncIterator[News | JobNow]
) -> AsyncIterator[bytes]:
    async for event in events:
        if isinstance(event, News):
            yield news_event(job_id, event)
        elif event.job.state.over:
            yield last_event(await _told(services, request, event))
        else:
            yield place_event(event)


async def _told(services: Services, request: Request, now: JobNow) -> JobReply:
    done = now.job.state is JobState.COMPLETED
    links = links_of(services, request)
    return job_reply(now, await images_of(now.job, services.images, links) if done else None)


async def _answer(
    services: Services, request: Request, now: JobNow, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return JSONResponse(await _told(services, request, now), status, headers=headers)
