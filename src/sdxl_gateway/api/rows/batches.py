"""Takes the services, gives the rows of the route table about batches."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import batches
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.rows.resource import Row, resource
from sdxl_gateway.api.services import Services

ALL, ONE = "/batches", "/batches/{batch_id}"


def batch_rows(services: Services) -> tuple[Route, ...]:
    """Batches of the caller's tenant."""
    return resource(
        services,
        "batches",
        openai_paths,
        Row("POST", ALL, batches.create_endpoint, "Start a batch: paint a file of requests.", batches.CREATE_BATCH),
        Row("GET", ALL, batches.list_endpoint, "Your batches, page by page.", batches.LIST_BATCHES),
        Row("GET", ONE, batches.one_endpoint, "One batch.", batches.RETRIEVE_BATCH),
        Row("POST", f"{ONE}/cancel", batches.cancel_endpoint, "Cancel a batch.", batches.CANCEL_BATCH),
        Row("GET", f"{ONE}/archive", batches.archive_endpoint, "A batch's pictures as ZIP.", batches.BATCH_ARCHIVE),
    )
