"""Takes the services, gives the rows of the route table that paint."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import images, recipes
from sdxl_gateway.api.endpoints.once import REPLAY_HEADERS
from sdxl_gateway.api.http.rate_headers import RATE_HEADERS
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.replies.images import REPLY_HEADERS
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.ask import Operation

PAINT_HEADERS = REPLY_HEADERS | RATE_HEADERS | REPLAY_HEADERS
AZURE_PREFIX = "/openai/deployments/{deployment:path}"


def painting_rows(services: Services) -> tuple[Route, ...]:
    """What paints, and what reads a painting's file."""
    limits = services.settings.limits
    return (
        Route(
            "POST",
            (*openai_paths("/images/generations"), AZURE_PREFIX + "/images/generations"),
            images.paint_endpoint(services, Operation.GENERATE),
            label="images.generations",
            summary="Paint pictures from a prompt.",
            description=images.description(limits, Operation.GENERATE),
            paints=True,
            headers=PAINT_HEADERS,
        ),
        Route(
            "POST",
            (*openai_paths("/images/edits"), AZURE_PREFIX + "/images/edits"),
            images.paint_endpoint(services, Operation.EDIT),
            label="images.edits",
            summary="Paint pictures from a picture and a prompt.",
            description=images.description(limits, Operation.EDIT),
            paints=True,
            headers=PAINT_HEADERS,
        ),
        Route(
            "POST",
            openai_paths("/images/variations"),
            images.paint_endpoint(services, Operation.VARY),
            label="images.variations",
            summary="Paint variations of a picture.",
            description=images.description(limits, Operation.VARY),
            paints=True,
            headers=PAINT_HEADERS,
        ),
        Route(
            "POST",
            openai_paths("/images/recipe"),
            recipes.read_endpoint(services),
            label="images.recipe",
            summary="Read out of a picture's file how it was made.",
            description=recipes.READ_RECIPE,
        ),
    )
