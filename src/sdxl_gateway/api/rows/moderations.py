"""Takes the services, gives the rows of the route table about what is judged, and what people make of it."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import moderations, reviews
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.replies.absences import ABSENCE_HEADERS
from sdxl_gateway.api.rows.paths import only, openai_paths
from sdxl_gateway.api.rows.resource import Row, resource
from sdxl_gateway.api.services import Services

ALL, ONE = "/v1/admin/reviews", "/v1/admin/reviews/{review_id}"
OWN, OWN_ONE = "/v1/moderations/reviews", "/v1/moderations/reviews/{review_id}"


def moderation_rows(services: Services) -> tuple[Route, ...]:
    """What is judged without being painted, and the reviews of what was painted: an operator's, then an owner's."""
    summary = "Moderate texts and pictures by this server's judges."
    judged = Row("POST", "/moderations", moderations.judge_endpoint, summary, moderations.CREATE_MODERATION)
    return (
        *resource(services, "moderations", openai_paths, judged),
        *_review_rows(services),
        *_own_review_rows(services),
    )


def _review_rows(services: Services) -> tuple[Route, ...]:
    admin, picture = Access.ADMIN, f"{ONE}/picture"
    return resource(
        services,
        "admin.reviews",
        only,
        Row(
            "GET", ALL, reviews.list_endpoint, "Pictures waiting for review, page by page.", reviews.LIST_REVIEWS, admin
        ),
        Row("GET", ONE, reviews.one_endpoint, "One review.", reviews.RETRIEVE_REVIEW, admin),
        Row("GET", picture, reviews.picture_endpoint, "A review's picture.", reviews.REVIEW_PICTURE, admin),
        Row("POST", ONE, reviews.decide_endpoint, "Approve or reject a picture.", reviews.DECIDE_REVIEW, admin),
    )


def _own_review_rows(services: Services) -> tuple[Route, ...]:
    summary = "Reviews of your pictures, page by page."
    return resource(
        services,
        "moderations",
        only,
        Row("GET", OWN, reviews.list_own_endpoint, summary, reviews.LIST_OWN, headers=ABSENCE_HEADERS),
        Row("GET", OWN_ONE, reviews.one_own_endpoint, "One review of a picture of yours.", reviews.RETRIEVE_OWN),
        Row("POST", f"{OWN_ONE}/appeal", reviews.appeal_endpoint, "Appeal against a rejection.", reviews.APPEAL),
    )
