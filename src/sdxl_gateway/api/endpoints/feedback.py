"""Accepts callers' feedback on pictures, and shows operators the results of rollouts' arms."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.feedback import FEEDBACK_SCHEMA, MOST_DAYS, read_days, read_feedback
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.seen import caller_of, image_of
from sdxl_gateway.api.http.json_body import small_object
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.feedback import ArmTable, FeedbackCard, arm_table, feedback_card
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.days import first_of
from sdxl_gateway.gateway.arm_report import arm_lines

GIVE_FEEDBACK = Description(
    "createImageFeedback",
    {200: Reply("Your current feedback on the picture.", FeedbackCard)},
    errors=(400, 404, 413, 507),
    reads={"application/json": {"schema": FEEDBACK_SCHEMA}},
)
LIST_ARMS = Description(
    "listFeedback",
    {200: Reply("Results of each arm of the rollouts.", ArmTable)},
    errors=(400, 507),
    query={"rollout": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": MOST_DAYS}},
)


def give_endpoint(services: Services) -> Endpoint:
    """POST: a score for a kept picture of the caller's tenant, which replaces its earlier one."""

    async def give_feedback(request: Request) -> Response:
        said = read_feedback(await small_object(request))
        image_id, caller = request.path_params["image_id"], caller_of(request)
        await image_of(services, caller, image_id)
        kept = await services.feedback.put(image_id, caller, said)
        acted(services, request, "feedback.given", image_id, score=said.score)
        return JSONResponse(feedback_card(kept))

    return give_feedback


def arms_endpoint(services: Services) -> Endpoint:
    """GET: the table of arms, of one rollout or all, for the last days or all time."""

    async def list_arms(request: Request) -> Response:
        days = read_days(request.query_params.get("days"))
        since = 0.0 if days is None else first_of(days, time.time())
        figures, missing = await services.arms.figures(since)
        lines = arm_lines(figures, services.rollouts(), request.query_params.get("rollout"))
        return JSONResponse(arm_table(lines, missing))

    return list_arms
