"""Takes the services, gives the rows of the route table about what callers say of pictures."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import feedback
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.rows.paths import only, openai_paths
from sdxl_gateway.api.rows.resource import Row, resource
from sdxl_gateway.api.services import Services

SAY, TABLE = "/images/{image_id}/feedback", "/v1/admin/feedback"


def feedback_rows(services: Services) -> tuple[Route, ...]:
    """An owner's word, and an operator's table."""
    said = Row("POST", SAY, feedback.give_endpoint, "Say how good a kept picture is.", feedback.GIVE_FEEDBACK)
    summary = "Results of each arm of the rollouts, with callers' feedback."
    arms = Row("GET", TABLE, feedback.arms_endpoint, summary, feedback.LIST_ARMS, Access.ADMIN)
    return *resource(services, "images", openai_paths, said), *resource(services, "admin.feedback", only, arms)
