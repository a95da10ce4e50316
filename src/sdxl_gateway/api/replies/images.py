"""Turns the gateway's results for one Ask into OpenAI's JSON and response headers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired
from urllib.parse import quote

from pydantic import Field
from typing_extensions import TypedDict

from sdxl_gateway.api.http.errors import ErrorDetail, error_detail
from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.recipe import Background
from sdxl_gateway.delivery.receipt import Usage
from sdxl_gateway.gateway.events import Accepted, Done, Presented, Withheld

MAX_NAMED = 30
MAX_HEADER_CHARS = 2000
B64_ONLY = ("gpt-image-", "chatgpt-image-")
"""OpenAI never returns a `url` for these models, and some clients would prefer a `url` even if they cannot reach it."""
REPLY_HEADERS = {
    "x-sdxl-gateway-cache": "'hit' if the pictures were painted for an earlier, equal request; 'miss' if for this one.",
    "x-sdxl-gateway-ignored": "Fields of the request that had no effect.",
    "x-sdxl-gateway-queue-position": "The request's place in the queue on arrival; 0 if an engine took it at once.",
    "x-sdxl-gateway-rollout": "The requested rollout and the arm that painted: NAME; arm=TARGET.",
    "x-sdxl-gateway-warning": "Where the picture differs from what was requested.",
}


class _Handed(TypedDict, total=False):
    """A picture as base64 data, as a URL, or both."""

    b64_json: str
    url: str


class ImageEntry(_Handed):
    """One picture; `recipe` holds everything that decides its pixels.

    `id` is that of the stored picture. `revised_prompt` is the prompt that was painted, if it is not the one sent.
    """

    id: NotRequired[str]
    revised_prompt: NotRequired[str]
    review: NotRequired[str]
    seed: int
    recipe: dict[str, Any]


class Echo(TypedDict):
    """The values that the request resolved to, echoed as OpenAI does."""

    background: Background
    output_format: Annotated[str, Field(json_schema_extra={"enum": ["png", "jpeg", "webp"]})]
    quality: Annotated[str, Field(json_schema_extra={"enum": ["low", "medium", "high", "max"]})]
    size: str


class EndUser(TypedDict, total=False):
    """The end user that the caller named."""

    safety_identifier: str


class WithheldEntry(TypedDict):
    """A picture that was painted from `seed` but withheld, its `index` among those requested, and the reason."""

    index: int
    seed: int
    error: ErrorDetail


class Withholding(TypedDict, total=False):
    """The withheld pictures, if any; the others are in `data`."""

    withheld: list[WithheldEntry]


class ImagesResponse(Echo, EndUser, Withholding):
    """A complete reply; `created` is unix seconds."""

    created: int
    data: list[ImageEntry]
    usage: Usage


@dataclass(frozen=True, slots=True)
class ReplyStyle:
    """How pictures are returned: as base64 data, as a URL (one of `links`), or both; `end_user` is echoed.

    `prompt` is the one that was sent.
    """

    b64: bool
    url: bool
    links: Links
    end_user: str | None = None
    stream: bool = False
    prompt: str = ""

    @classmethod
    def of(cls, ask: Ask, links: Links, prompt: str | None = None) -> ReplyStyle:
        """The requested form, else both; but only data in streams and for OpenAI's own model names.

        `prompt` is the one that was sent, if it differs from the Ask's.
        """
        b64_only = ask.stream or (ask.model or "").lower().startswith(B64_ONLY)
        return cls(
            b64=ask.response_format != "url",
            url=ask.response_format == "url" or (ask.response_format is None and not b64_only),
            links=links,
            end_user=ask.user or None,
            stream=ask.stream,
            prompt=ask.prompt if prompt is None else prompt,
        )

    @property
    def by_address_alone(self) -> bool:
        """Whether the reply has only the picture's URL, and not its data, which a stream always has."""
        return self.url and not self.b64 and not self.stream

    def address(self, one: Presented) -> str | None:
        """The URL of the stored picture; None if the picture is not stored, or no URL is wanted."""
        return self.links.to(one.stored) if self.url and one.stored is not None else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All results of a finished request."""

    style: ReplyStyle
    accepted: Accepted
    presented: tuple[Presented, ...]
    done: Done
    withheld: tuple[Withheld, ...] = ()


def reply(outcome: Outcome) -> bytes:
    """The body of a reply that is not streamed. Raises EngineFault if there is no picture at all."""
    return json.dumps(images_response(outcome, int(time.time())), allow_nan=False).encode()


def images_response(outcome: Outcome, created: int) -> ImagesResponse:
    """The reply before it is encoded; `created` is unix seconds."""
    if not outcome.presented:
        raise EngineFault("No picture came out.")
    return {
        "created": created,
        "data": [image_entry(one, outcome.style) for one in sorted(outcome.presented, key=lambda one: one.index)],
        **echo(outcome.accepted),
        **end_user(outcome.style),
        "usage": outcome.done.usage,
        **_withholding(outcome),
    }


def _withholding(outcome: Outcome) -> Withholding:
    held = sorted(outcome.withheld, key=lambda one: one.index)
    entries: list[WithheldEntry] = [
        {"index": one.index, "seed": one.seed, "error": error_detail(one.error)} for one in held
    ]
    return {"withheld": entries} if entries else {}


def image_entry(one: Presented, style: ReplyStyle) -> ImageEntry:
    """One picture, with `url` and `b64_json` as the style says; fields without a value are left out."""
    handed: _Handed = {}
    if style.b64:
        handed["b64_json"] = as_base64(one.data)
    if (url := style.address(one)) is not None:
        handed["url"] = url
    return {**handed, **named(one), **revised(one, style), "seed": one.seed, "recipe": one.recipe}


class Named(TypedDict, total=False):
    """A stored picture's id, and the id of its review, if it was flagged for one."""

    id: str
    review: str


def named(one: Presented) -> Named:
    """The picture's ids; empty if it is neither stored nor under review."""
    told: Named = {}
    if one.stored is not None:
        told["id"] = one.stored.id
    if one.review is not None:
        told["review"] = one.review
    return told


class Revised(TypedDict, total=False):
    """The prompt that was painted, if it differs from the one sent."""

    revised_prompt: str


def revised(one: Presented, style: ReplyStyle) -> Revised:
    """Empty if the prompt was painted as sent: no LoRA tag removed, no style applied, nothing added."""
    painted = one.recipe.get("prompt", style.prompt)
    return {} if painted == style.prompt else {"revised_prompt": painted}


def as_base64(data: bytes) -> str:
    """Picture bytes in base64, for JSON."""
    return base64.b64encode(data).decode("ascii")


def echo(accepted: Accepted) -> Echo:
    """The resolved values that every reply and event echoes."""
    return {
        "background": accepted.background,
        "output_format": accepted.output_format,
        "quality": accepted.quality,
        "size": str(accepted.size),
    }


def end_user(style: ReplyStyle) -> EndUser:
    """The end user; empty if the caller named none."""
    return {} if style.end_user is None else {"safety_identifier": style.end_user}


def ignored_header(ignored: Sequence[str]) -> dict[str, str]:
    """The names of fields without effect; unusual characters are percent-encoded, and an empty name is shown as ''."""
    if not ignored:
        return {}
    named = [quote(name[:64].encode("utf-8", "replace"), safe="[]._-") or "''" for name in ignored[:MAX_NAMED]]
    return {"x-sdxl-gateway-ignored": _header_value(", ".join(named))}


def accepted_headers(accepted: Accepted) -> dict[str, str]:
    """The queue position on arrival, the arm of a rollout, and whether the cache had the pictures, if it was asked."""
    cache = {} if accepted.cache is None else {"x-sdxl-gateway-cache": str(accepted.cache)}
    return {"x-sdxl-gateway-queue-position": str(accepted.position), **cache, **arm_header(accepted)}


def arm_header(accepted: Accepted) -> dict[str, str]:
    """The rollout and its chosen arm; empty unless a rollout was requested."""
    if accepted.arm is None:
        return {}
    return {"x-sdxl-gateway-rollout": f"{quote(accepted.arm.rollout)}; arm={quote(accepted.arm.target)}"}


def warning_header(done: Done) -> dict[str, str]:
    """The gateway's warnings, in printable ASCII."""
    if not done.warnings:
        return {}
    words = " | ".join(done.warnings).encode("ascii", "replace").decode("ascii")
    printable = "".join(char if char.isprintable() else " " for char in words)
    return {"x-sdxl-gateway-warning": _header_value(printable)}


def _header_value(text: str) -> str:
    """The text, shortened if too long, and stripped of outer spaces, with which the server could not send it."""
    return text[:MAX_HEADER_CHARS].strip()
