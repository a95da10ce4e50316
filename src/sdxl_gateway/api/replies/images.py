"""Takes what the gateway gave for one Ask, gives OpenAI's JSON: the whole reply, or one event of a stream."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sdxl_gateway.api.http.errors import error_body
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.errors import EngineFault, GatewayError
from sdxl_gateway.gateway.paint import Accepted, Done, Partial, Presented

MAX_NAMED = 30
MAX_HEADER_CHARS = 2000
B64_ONLY = ("gpt-image-", "chatgpt-image-")
"""OpenAI never answers these names with an address, and some clients prefer one they cannot reach."""
STREAM_NAMES = {Operation.GENERATE: "image_generation", Operation.EDIT: "image_edit"}


@dataclass(frozen=True, slots=True)
class ReplyStyle:
    """How pictures are handed out: as data, by address (below `files_url`), or both; `end_user` is repeated."""

    b64: bool
    url: bool
    files_url: str
    end_user: str | None = None

    @classmethod
    def of(cls, ask: Ask, files_url: str) -> ReplyStyle:
        """One way where one was asked for, else both; but data alone in streams and under OpenAI's own names."""
        b64_only = ask.stream or (ask.model or "").lower().startswith(B64_ONLY)
        return cls(
            b64=ask.response_format != "url",
            url=ask.response_format == "url" or (ask.response_format is None and not b64_only),
            files_url=files_url,
            end_user=ask.user or None,
        )

    def address(self, one: Presented) -> str | None:
        """Where the picture can be fetched."""
        return f"{self.files_url}/{one.file_name}" if self.url and one.file_name is not None else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a finished request gave."""

    style: ReplyStyle
    accepted: Accepted
    presented: tuple[Presented, ...]
    done: Done


def reply(outcome: Outcome) -> bytes:
    """The body of a reply without streaming. Raises EngineFault rather than answer with no picture."""
    if not outcome.presented:
        raise EngineFault("No picture came out.")
    body = {
        "created": int(time.time()),
        "data": [image_entry(one, outcome.style) for one in sorted(outcome.presented, key=lambda one: one.index)],
        **_echo(outcome.accepted),
        **_end_user(outcome.style),
        "usage": outcome.done.usage,
    }
    return json.dumps(body, allow_nan=False).encode()


def image_entry(one: Presented, style: ReplyStyle) -> dict[str, Any]:
    """One picture; `url` and `b64_json` as the style says, the fields not given left out."""
    entry: dict[str, Any] = {}
    if style.b64:
        entry["b64_json"] = base64.b64encode(one.data).decode("ascii")
    if (url := style.address(one)) is not None:
        entry["url"] = url
    return {**entry, "seed": one.seed, "recipe": one.recipe}


def partial_event(operation: Operation, partial: Partial, accepted: Accepted) -> bytes:
    return _event(
        f"{STREAM_NAMES[operation]}.partial_image",
        {
            "b64_json": base64.b64encode(partial.data).decode("ascii"),
            "partial_image_index": partial.partial_index,
            "created_at": int(time.time()),
            **_echo(accepted),
        },
    )


def completed_event(operation: Operation, outcome: Outcome) -> bytes:
    """The stream's last event; it always carries the picture itself, as OpenAI's does."""
    if not outcome.presented:
        raise EngineFault("No picture came out.")
    one = outcome.presented[0]
    payload = {
        "b64_json": base64.b64encode(one.data).decode("ascii"),
        "created_at": int(time.time()),
        **_echo(outcome.accepted),
        **_end_user(outcome.style),
        "usage": outcome.done.usage,
        "seed": one.seed,
        "recipe": one.recipe,
    }
    if (url := outcome.style.address(one)) is not None:
        payload["url"] = url
    if outcome.done.warnings:
        payload["warnings"] = list(outcome.done.warnings)
    return _event(f"{STREAM_NAMES[operation]}.completed", payload)


def error_event(error: GatewayError) -> bytes:
    """An error inside a stream: nested, so that both SDKs raise it."""
    return _frame("error", {"type": "error", **error_body(error)})


def _event(name: str, payload: dict[str, Any]) -> bytes:
    return _frame(name, {"type": name, **payload})


def _frame(name: str, payload: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(payload, allow_nan=False)}\n\n".encode()


def _echo(accepted: Accepted) -> dict[str, Any]:
    return {
        "background": "opaque",
        "output_format": accepted.output_format,
        "quality": accepted.quality,
        "size": str(accepted.size),
    }


def _end_user(style: ReplyStyle) -> dict[str, Any]:
    """Whose picture it is, as the caller said it."""
    return {} if style.end_user is None else {"safety_identifier": style.end_user}


def ignored_header(ignored: Sequence[str]) -> dict[str, str]:
    """Names of what had no effect; anything unusual in a caller's names is percent-encoded."""
    if not ignored:
        return {}
    named = [quote(name[:64].encode("utf-8", "replace"), safe="[]._-") for name in ignored[:MAX_NAMED]]
    return {"x-sdxl-gateway-ignored": ", ".join(named)[:MAX_HEADER_CHARS]}


def warning_header(done: Done) -> dict[str, str]:
    if not done.warnings:
        return {}
    words = " | ".join(done.warnings).encode("ascii", "replace").decode("ascii")
    printable = "".join(char if char.isprintable() else " " for char in words)
    return {"x-sdxl-gateway-warning": printable[:MAX_HEADER_CHARS]}
