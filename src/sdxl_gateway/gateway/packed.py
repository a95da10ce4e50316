"""Serialises what a stored job remembers (an Ask, a caller, an error, a result, its news) to JSON, and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import EngineFault, GatewayError, ModerationBlocked, error_class
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.gateway.events import Accepted, Done, Partial
from sdxl_gateway.gateway.live_job import News, NewsId

BLOB = "blob"


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A finished picture of a stored job: what the image store has of it, and how to make it again.

    `review` is the id under which a person will look at it.
    """

    index: int
    stored: StoredImage
    seed: int
    recipe: dict[str, Any]
    review: str | None = None


@dataclass(frozen=True, slots=True)
class HeldPicture:
    """A picture of a stored job that was withheld; `error` is packed."""

    index: int
    seed: int
    error: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """All that a finished job gave."""

    accepted: Accepted
    pictures: tuple[KeptPicture, ...]
    done: Done
    withheld: tuple[HeldPicture, ...] = ()


@dataclass(frozen=True, slots=True)
class SettledAsk:
    """An Ask that gives the same pictures whenever it is painted: its seed is drawn, and its prompt final.

    `prompt` is what the caller sent, and `warnings` are about how it became the final one.
    """

    ask: Ask
    prompt: str
    warnings: tuple[str, ...] = ()


_SETTLED = TypeAdapter(SettledAsk)
_CALLER = TypeAdapter(Caller)
_RESULT = TypeAdapter(JobResult)


def pack_ask(settled: SettledAsk) -> tuple[str, bytes]:
    """JSON, and the bytes of all uploads in a row; the JSON says where each lies."""
    pieces: list[bytes] = []

    def plain(value: Any) -> Any:
        if not isinstance(value, bytes):
            return sorted(value)
        pieces.append(value)
        return {BLOB: [sum(map(len, pieces[:-1])), len(value)]}

    return json.dumps(_SETTLED.dump_python(settled), default=plain), b"".join(pieces)


def unpack_ask(text: str, uploads: bytes = b"") -> SettledAsk:
    """The Ask that was packed; without `uploads` its pictures are empty."""

    def whole(found: dict[str, Any]) -> Any:
        if found.keys() != {BLOB}:
            return found
        start, size = found[BLOB]
        return uploads[start : start + size]

    return _SETTLED.validate_python(json.loads(text, object_hook=whole))


def pack_caller(caller: Caller) -> str:
    """As JSON: everything that decides what the caller's job may use."""
    return _CALLER.dump_json(caller).decode()


def unpack_caller(text: str) -> Caller:
    """The caller that was packed; fields that a later version added have their defaults."""
    return _CALLER.validate_json(text)


def pack_result(result: JobResult) -> str:
    """As JSON."""
    return _RESULT.dump_json(result).decode()


def unpack_result(text: str) -> JobResult:
    """As it was packed."""
    return _RESULT.validate_json(text)


def pack_news(news: News, started: float | None) -> list[Any]:
    """As JSON values, with when the job was begun; a partial image is base64."""
    look = news.look
    shown = None if look is None else [look.partial_index, base64.b64encode(look.data).decode(), look.index]
    return [news.id.taking, news.id.number, news.kind, news.step, news.steps, shown, started]


def unpack_news(packed: list[Any]) -> tuple[News, float | None]:
    """As they were packed."""
    taking, number, kind, step, steps, shown, started = packed
    look = None if shown is None else Partial(shown[0], base64.b64decode(shown[1]), shown[2])
    return News(NewsId(taking, number), kind, step, steps, look), started


def pack_error(error: GatewayError) -> str:
    """As JSON: its class, and what a client may be told."""
    told: dict[str, Any] = {
        "class": type(error).__name__,
        "message": error.message,
        "param": error.param,
        "code": error.code,
    }
    if isinstance(error, ModerationBlocked):
        told |= {"stage": error.stage, "categories": error.categories}
    return json.dumps(told)


def unpack_error(text: str) -> GatewayError:
    """An error of the same class that tells the same."""
    told = json.loads(text)
    kind = error_class(told["class"])
    error = kind.__new__(kind)
    GatewayError.__init__(error, told["message"], param=told["param"], code=told["code"])
    if isinstance(error, ModerationBlocked):
        error.stage, error.categories = told["stage"], tuple(told["categories"])
    return error


def readable(unpack: Callable[[], SettledAsk]) -> SettledAsk:
    """Raises EngineFault for what another version of this server wrote and this one cannot read."""
    try:
        return unpack()
    except ValueError as problem:
        raise EngineFault("The job was accepted by another version of this server.", code="unreadable_job") from problem
