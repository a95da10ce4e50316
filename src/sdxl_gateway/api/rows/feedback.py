"""Takes the services, gives the rows of the route table about what callers say of pictures."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import feedback
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services


def feedback_rows(services: Services) -> tuple[Route, ...]:
    """An owner's word, and an operator's table."""
    return (
        Route(
            "POST",
            openai_paths("/images/{image_id}/feedback"),
            feedback.give_endpoint(services),
            label="images",
            summary="Say how good a kept picture is.",
            description=feedback.GIVE_FEEDBACK,
        ),
        Route(
            "GET",
            ("/v1/admin/feedback",),
            feedback.arms_endpoint(services),
            label="admin.feedback",
            summary="How each arm of the rollouts does, and what callers say of it.",
            description=feedback.LIST_ARMS,
            access=Access.ADMIN,
        ),
    )
