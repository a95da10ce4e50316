"""The rows of /v1/jobs."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import jobs
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.services import Services


def job_rows(services: Services) -> tuple[Route, ...]:
    """Jobs of the caller's tenant."""
    rows = (
        ("GET", "", jobs.list_endpoint, "The jobs that were accepted to be painted later.", jobs.LIST_JOBS),
        ("GET", "/{job_id}", jobs.one_endpoint, "One job, with what came out.", jobs.RETRIEVE_JOB),
        ("POST", "/{job_id}/cancel", jobs.cancel_endpoint, "Cancel a job.", jobs.CANCEL_JOB),
        ("GET", "/{job_id}/events", jobs.events_endpoint, "Follow a job as server-sent events.", jobs.FOLLOW_JOB),
    )
    return tuple(
        Route(verb, (f"/v1/jobs{path}",), made(services), "jobs", about, told) for verb, path, made, about, told in rows
    )
