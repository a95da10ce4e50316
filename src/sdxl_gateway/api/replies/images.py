"""Takes what the gateway gave for one Ask, gives OpenAI's JSON, and the headers that go with it."""

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
"""OpenAI never answers these names with an address, and some clients prefer one they cannot reach."""
REPLY_HEADERS = {
    "x-sdxl-gateway-cache": "'hit': these pictures were painted for an equal request before; 'miss': for this one.",
    "x-sdxl-gateway-ignored": "Fields of the request that had no effect.",
    "x-sdxl-gateway-queue-position": "The request's place in the line as it came, 0 where an engine took it at once.",
    "x-sdxl-gateway-rollout": "The rollout that was asked for, and its arm that painted: NAME; arm=TARGET.",
    "x-sdxl-gateway-warning": "What the picture does not show as it was asked.",
}


class _Handed(TypedDict, total=False):
    """A picture as data, by address, or both."""

    b64_json: str
    url: str


class ImageEntry(_Handed):
    """One picture; `recipe` holds everything that decides its pixels.

    `id` is what a picture with an address is kept under. `revised_prompt` is what was painted, where that is not what
    was sent.
    """

    id: NotRequired[str]
    revised_prompt: NotRequired[str]
    review: NotRequired[str]
    seed: int
    recipe: dict[str, Any]


class Echo(TypedDict):
    """What the request resolved to, as OpenAI repeats it."""

    background: Background
    output_format: Annotated[str, Field(json_schema_extra={"enum": ["png", "jpeg", "webp"]})]
    quality: Annotated[str, Field(json_schema_extra={"enum": ["low", "medium", "high", "max"]})]
    size: str


class EndUser(TypedDict, total=False):
    """Whose picture it is, as the caller named them."""

    safety_identifier: str


class WithheldEntry(TypedDict):
    """A picture that was painted from `seed` and held back, its place among those asked for, and why."""

    index: int
    seed: int
    error: ErrorDetail


class Withholding(TypedDict, total=False):
    """The pictures that were held back, where there are any; `data` has the others."""

    withheld: list[WithheldEntry]


class ImagesResponse(Echo, EndUser, Withholding):
    """A whole reply; `created` is unix seconds."""

    created: int
    data: list[ImageEntry]
    usage: Usage


@dataclass(frozen=True, slots=True)
class ReplyStyle:
    """How pictures are handed out: as data, by address (one of `links`), or both; `end_user` is repeated.

    `prompt` is what was sent.
    """

    b64: bool
    url: bool
    links: Links
    end_user: str | None = None
    stream: bool = False
    prompt: str = ""

    @classmethod
    def of(cls, ask: Ask, links: Links, prompt: str | None = None) -> ReplyStyle:
        """One way where one was asked for, else both; but data alone in streams and under OpenAI's own names.

        `prompt` is what was sent, where that is not the Ask's own.
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
        """The reply holds the picture in no other way; a stream always carries it."""
        return self.url and not self.b64 and not self.stream

    def address(self, one: Presented) -> str | None:
        """Where the picture can be fetched."""
        return self.links.to(one.stored) if self.url and one.stored is not None else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a finished request gave."""

    style: ReplyStyle
    accepted: Accepted
    presented: tuple[Presented, ...]
    done: Done
    withheld: tuple[Withheld, ...] = ()


def reply(outcome: Outcome) -> bytes:
    """The body of a reply without streaming. Raises EngineFault rather than answer with no picture."""
    return json.dumps(images_response(outcome, int(time.time())), allow_nan=False).encode()


def images_response(outcome: Outcome, created: int) -> ImagesResponse:
    """The same, not yet encoded; `created` is unix seconds."""
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
    """One picture; `url` and `b64_json` as the style says, the fields not given left out."""
    handed: _Handed = {}
    if style.b64:
        handed["b64_json"] = as_base64(one.data)
    if (url := style.address(one)) is not None:
        handed["url"] = url
    return {**handed, **named(one), **revised(one, style), "seed": one.seed, "recipe": one.recipe}


class Named(TypedDict, total=False):
    """What a picture is kept under, and under which id a person will look at it, where something was found."""

    id: str
    review: str


def named(one: Presented) -> Named:
    """Empty when the picture is not kept, and nobody will look at it."""
    told: Named = {}
    if one.stored is not None:
        told["id"] = one.stored.id
    if one.review is not None:
        told["review"] = one.review
    return told


class Revised(TypedDict, total=False):
    """What was painted, where that is not what was sent."""

    revised_prompt: str


def revised(one: Presented, style: ReplyStyle) -> Revised:
    """Empty when the prompt was painted as it came: no tag cut out, no style around it, nothing added."""
    painted = one.recipe.get("prompt", style.prompt)
    return {} if painted == style.prompt else {"revised_prompt": painted}


def as_base64(data: bytes) -> str:
    """Picture bytes as JSON holds them."""
    return base64.b64encode(data).decode("ascii")


def echo(accepted: Accepted) -> Echo:
    """What every reply and event repeats of the request."""
    return {
        "background": accepted.background,
        "output_format": accepted.output_format,
        "quality": accepted.quality,
        "size": str(accepted.size),
    }


def end_user(style: ReplyStyle) -> EndUser:
    """Empty when the caller named nobody."""
    return {} if style.end_user is None else {"safety_identifier": style.end_user}


def ignored_header(ignored: Sequence[str]) -> dict[str, str]:
    """Names of what had no effect; anything unusual in a caller's names is percent-encoded, and none is shown as ''."""
    if not ignored:
        return {}
    named = [quote(name[:64].encode("utf-8", "replace"), safe="[]._-") or "''" for name in ignored[:MAX_NAMED]]
    return {"x-sdxl-gateway-ignored": _header_value(", ".join(named))}


def accepted_headers(accepted: Accepted) -> dict[str, str]:
    """Its place in the line as it came, its arm of a rollout, and whether it was painted before, if anybody looked."""
    cache = {} if accepted.cache is None else {"x-sdxl-gateway-cache": str(accepted.cache)}
    return {"x-sdxl-gateway-queue-position": str(accepted.position), **cache, **arm_header(accepted)}


def arm_header(accepted: Accepted) -> dict[str, str]:
    """Empty unless a rollout was asked for."""
    if accepted.arm is None:
        return {}
    return {"x-sdxl-gateway-rollout": f"{quote(accepted.arm.rollout)}; arm={quote(accepted.arm.target)}"}


def warning_header(done: Done) -> dict[str, str]:
    """What the gateway warns of, as printable ASCII."""
    if not done.warnings:
        return {}
    words = " | ".join(done.warnings).encode("ascii", "replace").decode("ascii")
    printable = "".join(char if char.isprintable() else " " for char in words)
    return {"x-sdxl-gateway-warning": _header_value(printable)}


def _header_value(text: str) -> str:
    """Not too long, and without spaces at its ends, with which the server could not send it."""
    return text[:MAX_HEADER_CHARS].strip()
