"""Takes the services, gives the rows of the route table about kept pictures."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import stored_images
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.replies.absences import ABSENCE_HEADERS
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.rows.resource import Row, resource
from sdxl_gateway.api.services import Services

ALL, ONE = "/images", "/images/{image_id}"


def stored_image_rows(services: Services) -> tuple[Route, ...]:
    """Kept pictures of the caller's tenant."""
    listed, summary = stored_images.LIST_IMAGES, "Your kept pictures, page by page."
    return resource(
        services,
        "images",
        openai_paths,
        Row("GET", ALL, stored_images.list_endpoint, summary, listed, headers=ABSENCE_HEADERS),
        Row("GET", ONE, stored_images.one_endpoint, "One kept picture.", stored_images.RETRIEVE_IMAGE),
        Row("DELETE", ONE, stored_images.delete_endpoint, "Delete a picture.", stored_images.DELETE_IMAGE),
    )
