"""Takes the services, gives the rows of the route table about what is judged, and what people make of it."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import moderations, reviews
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.replies.absences import ABSENCE_HEADERS
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.services import Services


def moderation_rows(services: Services) -> tuple[Route, ...]:
    """What is judged without being painted, and the reviews of what was painted: an operator's, then an owner's."""
    return (
        Route(
            "POST",
            openai_paths("/moderations"),
            moderations.judge_endpoint(services),
            label="moderations",
            summary="Have texts and pictures judged as what is painted here is.",
            description=moderations.CREATE_MODERATION,
        ),
        *_review_rows(services),
        *_own_review_rows(services),
    )


def _review_rows(services: Services) -> tuple[Route, ...]:
    one = "/{review_id}"
    rows = (
        ("GET", "", reviews.list_endpoint, "What people are to look at, page by page.", reviews.LIST_REVIEWS),
        ("GET", one, reviews.one_endpoint, "One review.", reviews.RETRIEVE_REVIEW),
        ("GET", f"{one}/picture", reviews.picture_endpoint, "A review's picture.", reviews.REVIEW_PICTURE),
        ("POST", one, reviews.decide_endpoint, "Approve or reject a picture.", reviews.DECIDE_REVIEW),
    )
    return tuple(
        Route(verb, (f"/v1/admin/reviews{path}",), made(services), "admin.reviews", about, told, access=Access.ADMIN)
        for verb, path, made, about, told in rows
    )


def _own_review_rows(services: Services) -> tuple[Route, ...]:
    one = "/{review_id}"
    rows = (
        ("GET", "", reviews.list_own_endpoint, "Reviews of your pictures, page by page.", reviews.LIST_OWN),
        ("GET", one, reviews.one_own_endpoint, "One review of a picture of yours.", reviews.RETRIEVE_OWN),
        ("POST", f"{one}/appeal", reviews.appeal_endpoint, "Appeal against a rejection.", reviews.APPEAL),
    )
    return tuple(
        Route(
            verb,
            (f"/v1/moderations/reviews{path}",),
            made(services),
            "moderations",
            about,
            told,
            headers={} if path else ABSENCE_HEADERS,
        )
        for verb, path, made, about, told in rows
    )
