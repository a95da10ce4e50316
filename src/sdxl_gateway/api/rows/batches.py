"""Takes the services, gives the rows of the route table about batches."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import batches
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services


def batch_rows(services: Services) -> tuple[Route, ...]:
    """Batches of the caller's tenant."""
    one = "/batches/{batch_id}"
    rows = (
        ("POST", "/batches", batches.create_endpoint, "Have a file of requests painted.", batches.CREATE_BATCH),
        ("GET", "/batches", batches.list_endpoint, "Your batches, page by page.", batches.LIST_BATCHES),
        ("GET", one, batches.one_endpoint, "One batch.", batches.RETRIEVE_BATCH),
        ("POST", f"{one}/cancel", batches.cancel_endpoint, "Cancel a batch.", batches.CANCEL_BATCH),
        ("GET", f"{one}/archive", batches.archive_endpoint, "A batch's pictures as ZIP.", batches.BATCH_ARCHIVE),
    )
    return tuple(
        Route(verb, openai_paths(path), made(services), "batches", about, told)
        for verb, path, made, about, told in rows
    )
