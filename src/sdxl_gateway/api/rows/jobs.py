"""Takes the services, gives the rows of the route table about jobs."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import jobs
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.rows.paths import only
from sdxl_gateway.api.rows.resource import Row, resource
from sdxl_gateway.api.services import Services

ALL, ONE = "/v1/jobs", "/v1/jobs/{job_id}"


def job_rows(services: Services) -> tuple[Route, ...]:
    """Jobs of the caller's tenant."""
    return resource(
        services,
        "jobs",
        only,
        Row("GET", ALL, jobs.list_endpoint, "Jobs accepted for later, page by page.", jobs.LIST_JOBS),
        Row("GET", ONE, jobs.one_endpoint, "One job with its result.", jobs.RETRIEVE_JOB),
        Row("POST", f"{ONE}/cancel", jobs.cancel_endpoint, "Cancel a job.", jobs.CANCEL_JOB),
        Row("GET", f"{ONE}/events", jobs.events_endpoint, "Follow a job as server-sent events.", jobs.FOLLOW_JOB),
    )
