"""Shows what was flagged to those who decide and to those whose it is; the ones decide, the others may appeal."""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.pages import PAGE_QUERY, Page
from sdxl_gateway.api.asks.reviews import read_appeal, read_decision
from sdxl_gateway.api.asks.values import choice
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.seen import tenant_of
from sdxl_gateway.api.http.json_body import small_object
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.openapi.admin_schemas import appeal_schema, decision_schema
from sdxl_gateway.api.replies.absences import absence_header
from sdxl_gateway.api.replies.reviews import (
    AllReviewList,
    ReviewCard,
    ReviewList,
    all_review_list,
    review_card,
    review_list,
)
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.storage.pages import Cut
from sdxl_gateway.storage.review_table import Review, ReviewState

_STATE = Field("state", Kind.CHOICE, "Where it stands.", choices=tuple(ReviewState))
_QUERY = {**PAGE_QUERY, "state": {"type": "string", "enum": list(ReviewState)}}
_CARD = {200: Reply("The review after the decision.", ReviewCard)}
_KINDS = ("png", "jpeg", "webp")

LIST_REVIEWS = Description(
    "listReviews",
    {200: Reply("A page of the reviews, the oldest first.", AllReviewList)},
    errors=(400, 503),
    query={**_QUERY, "tenant": {"type": "string"}},
)
RETRIEVE_REVIEW = Description("retrieveReview", {200: Reply("The review.", ReviewCard)}, errors=(404, 503))
REVIEW_PICTURE = Description(
    "retrieveReviewPicture",
    {200: Reply("The picture as it was delivered.", content={f"image/{kind}": {} for kind in _KINDS})},
    errors=(404, 410, 503),
)
DECIDE_REVIEW = Description(
    "decideReview",
    _CARD,
    errors=(400, 404, 409, 413, 503, 507),
    reads={"application/json": {"schema": decision_schema()}},
)
LIST_OWN = Description(
    "listOwnReviews",
    {200: Reply("A page of the reviews of your tenant's pictures.", ReviewList)},
    errors=(400, 503),
    query=_QUERY,
)
RETRIEVE_OWN = Description("retrieveOwnReview", {200: Reply("The review.", ReviewCard)}, errors=(404, 503))
APPEAL = Description(
    "appealReview",
    _CARD,
    errors=(400, 404, 409, 413, 503, 507),
    reads={"application/json": {"schema": appeal_schema()}},
)


def list_endpoint(services: Services) -> Endpoint:
    """GET: of everybody's pictures, or of one tenant's."""

    async def list_reviews(request: Request) -> Response:
        found = await _page(services, request, request.query_params.get("tenant"))
        return JSONResponse(all_review_list(found))

    return list_reviews


def one_endpoint(services: Services) -> Endpoint:
    """GET: any review."""

    async def one_review(request: Request) -> Response:
        return JSONResponse(review_card(await services.reviews.find(request.path_params["review_id"])))

    return one_review


def picture_endpoint(services: Services) -> Endpoint:
    """GET: the picture itself."""

    async def review_picture(request: Request) -> Response:
        review = await services.reviews.find(request.path_params["review_id"])
        data = await services.reviews.picture(review)
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        return Response(data, media_type=f"image/{review.ext}", headers=headers)

    return review_picture


def decide_endpoint(services: Services) -> Endpoint:
    """POST: approve or reject; what is rejected is not kept for its tenant any more."""

    async def decide_review(request: Request) -> Response:
        decision = read_decision(await small_object(request))
        review_id = request.path_params["review_id"]
        review = await services.reviews.decide(review_id, approve=decision.approve, note=decision.note)
        if not decision.approve:
            await _withdraw(services, review)
        acted(services, request, f"review.{review.state}", review.id, review.tenant, job=review.job)
        return JSONResponse(review_card(review))

    return decide_review


def list_own_endpoint(services: Services) -> Endpoint:
    """GET: of the pictures of the caller's tenant."""

    async def list_own(request: Request) -> Response:
        found = await _page(services, request, tenant_of(request))
        return JSONResponse(review_list(found), headers=absence_header(found.missing))

    return list_own


def one_own_endpoint(services: Services) -> Endpoint:
    """GET: a review of a picture of the caller's tenant."""

    async def one_own(request: Request) -> Response:
        found = await services.reviews.find(request.path_params["review_id"], tenant_of(request))
        return JSONResponse(review_card(found))

    return one_own


def appeal_endpoint(services: Services) -> Endpoint:
    """POST: a rejected picture is to be looked at again, once."""

    async def appeal(request: Request) -> Response:
        said, tenant = read_appeal(await small_object(request)), tenant_of(request)
        review = await services.reviews.appeal(request.path_params["review_id"], tenant, said)
        acted(services, request, "review.appealed", review.id, job=review.job)
        return JSONResponse(review_card(review))

    return appeal


async def _page(services: Services, request: Request, tenant: str | None) -> Listed[Review]:
    page, said = Page.of(request), request.query_params.get("state")
    state = None if said is None else ReviewState(choice(_STATE, said, "state"))
    cut = Cut(page.limit, page.after, newest_first=False)
    return await services.reviews.page_everywhere(cut, tenant, state)


async def _withdraw(services: Services, review: Review) -> None:
    if review.image is not None:
        with suppress(NotFound):
            await services.images.delete(review.image, review.tenant)
