"""Takes the services, gives the rows of the route table about what is judged."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import moderations
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services


def moderation_rows(services: Services) -> tuple[Route, ...]:
    """What is judged without being painted."""
    return (
        Route(
            "POST",
            openai_paths("/moderations"),
            moderations.judge_endpoint(services),
            label="moderations",
            summary="Have texts and pictures judged as what is painted here is.",
            description=moderations.CREATE_MODERATION,
        ),
    )
