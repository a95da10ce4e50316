"""Takes the services, gives the rows of the route table about kept pictures."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import stored_images
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.replies.absences import ABSENCE_HEADERS
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services


def stored_image_rows(services: Services) -> tuple[Route, ...]:
    """Kept pictures of the caller's tenant."""
    rows = (
        ("GET", "", stored_images.list_endpoint, "Your kept pictures, page by page.", stored_images.LIST_IMAGES),
        ("GET", "/{image_id}", stored_images.one_endpoint, "One kept picture.", stored_images.RETRIEVE_IMAGE),
        ("DELETE", "/{image_id}", stored_images.delete_endpoint, "Delete a picture.", stored_images.DELETE_IMAGE),
    )
    return tuple(
        Route(
            verb,
            openai_paths(f"/images{path}"),
            made(services),
            "images",
            about,
            told,
            headers={} if path else ABSENCE_HEADERS,
        )
        for verb, path, made, about, told in rows
    )
