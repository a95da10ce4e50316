"""Encodes the gateway's results for one Ask as stream events with OpenAI's names and fields."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from sdxl_gateway.api.http.errors import error_body
from sdxl_gateway.api.replies.images import Outcome, as_base64, echo, end_user, named, revised
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import EngineFault, GatewayError
from sdxl_gateway.gateway.events import Accepted, Partial, Progressed

STREAM_NAMES = {Operation.GENERATE: "image_generation", Operation.EDIT: "image_edit"}
LINE_END = "\n"


def event_names(operation: Operation) -> list[str]:
    """The names of the events in a stream of this operation; empty for an operation that does not stream."""
    if operation not in STREAM_NAMES:
        return []
    return [f"{STREAM_NAMES[operation]}.partial_image", f"{STREAM_NAMES[operation]}.completed", "error"]


def completed_head(operation: Operation) -> bytes:
    """The first line of the `completed` event's frame."""
    return f"event: {STREAM_NAMES[operation]}.completed{LINE_END}".encode()


def position_comment(accepted: Accepted) -> bytes:
    """The stream's first frame: the request's queue position on arrival, as a comment, which clients skip."""
    return f": queue position {accepted.position}{LINE_END}{LINE_END}".encode()


def step_comment(progressed: Progressed) -> bytes:
    """The number of the step just finished; also a comment, as OpenAI has no event for it."""
    return f": step {progressed.step} of {progressed.steps}{LINE_END}{LINE_END}".encode()


def partial_event(operation: Operation, partial: Partial, accepted: Accepted) -> bytes:
    """A partial image; always opaque, even if the final picture will be transparent."""
    return _event(
        f"{STREAM_NAMES[operation]}.partial_image",
        {
            "b64_json": as_base64(partial.data),
            "partial_image_index": partial.partial_index,
            "created_at": int(time.time()),
            **echo(accepted),
            "background": "opaque",
            "queue_position": accepted.position,
        },
    )


def completed_event(operation: Operation, outcome: Outcome) -> bytes:
    """The stream's last event; it always contains the picture itself, as OpenAI's does."""
    if not outcome.presented:
        raise EngineFault("No picture came out.")
    one = outcome.presented[0]
    payload: dict[str, Any] = {
        "b64_json": as_base64(one.data),
        "created_at": int(time.time()),
        **echo(outcome.accepted),
        **end_user(outcome.style),
        "usage": outcome.done.usage,
        **named(one),
        **revised(one, outcome.style),
        "seed": one.seed,
        "recipe": one.recipe,
        "queue_position": outcome.accepted.position,
    }
    if (url := outcome.style.address(one)) is not None:
        payload["url"] = url
    if outcome.done.warnings:
        payload["warnings"] = list(outcome.done.warnings)
    return _event(f"{STREAM_NAMES[operation]}.completed", payload)


def error_event(error: GatewayError) -> bytes:
    """An error inside a stream, under the key `error`, so that both of OpenAI's SDKs raise it."""
    return _event("error", error_body(error))


def _event(name: str, payload: Mapping[str, Any]) -> bytes:
    """One frame. JSON has no line ends, so it is not searched for them, which would take longer than encoding it."""
    data = json.dumps({"type": name, **payload}, allow_nan=False)
    return f"event: {name}{LINE_END}data: {data}{LINE_END}{LINE_END}".encode()
