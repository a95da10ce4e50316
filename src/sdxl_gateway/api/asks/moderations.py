"""Reads the JSON of a request to moderate texts or pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.keys import refuse_unknown
from sdxl_gateway.api.asks.pictures import read_picture
from sdxl_gateway.api.asks.values import missing, text, wrong_type
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown

MOST_INPUTS = 32
MOST_PICTURES = 16
TEXT_PART = frozenset({"type", "text"})
_MODEL = Field("model", Kind.TEXT, "Answered as it was sent; the server has one set of judges.", max_chars=200)


@dataclass(frozen=True, slots=True)
class ModerationInput:
    """Texts and pictures that are judged together, with one result."""

    texts: tuple[str, ...] = ()
    pictures: tuple[Upload, ...] = ()


@dataclass(frozen=True, slots=True)
class ModerationAsk:
    """The inputs: a string is one, of a list of strings each is one, and all parts of a list of parts are one."""

    model: str | None
    inputs: tuple[ModerationInput, ...]


def read_moderation(given: Mapping[str, Any], limits: Limits) -> ModerationAsk:
    """The request. Raises InvalidRequest, InvalidImage or BodyTooLarge naming the place."""
    refuse_unknown(given, frozenset({"input", "model"}))
    model = given.get("model")
    asked = given.get("input")
    if asked is None:
        raise missing("input")
    name = None if model is None else text(_MODEL, model, "model")
    return ModerationAsk(name, _inputs(asked, limits))


def _inputs(asked: Any, limits: Limits) -> tuple[ModerationInput, ...]:
    if isinstance(asked, str):
        return (ModerationInput((_text(asked, "input", limits),)),)
    if not isinstance(asked, list):
        raise wrong_type("input", "a string or an array", asked)
    if not 1 <= len(asked) <= MOST_INPUTS:
        raise InvalidRequest(f"'input' wants 1 to {MOST_INPUTS} entries.", param="input")
    if any(isinstance(one, dict) for one in asked):
        return (_parts(asked, limits),)
    return tuple(ModerationInput((_text(one, f"input[{place}]", limits),)) for place, one in enumerate(asked))


def _parts(asked: list[Any], limits: Limits) -> ModerationInput:
    texts: list[str] = []
    pictures: list[Upload] = []
    for place, part in enumerate(asked):
        param = f"input[{place}]"
        if not isinstance(part, dict):
            raise wrong_type(param, "an object", part)
        if part.get("type") == "text":
            refuse_unknown({key: said for key, said in part.items() if said is not None}, TEXT_PART, within=param)
            texts.append(_text(part.get("text"), f"{param}.text", limits))
        elif part.get("type") == "image_url":
            pictures.append(read_picture(part, param, limits.max_image_bytes))
        else:
            message = f"Invalid value: {shown(str(part.get('type')))}. Supported values are: 'text', 'image_url'."
            raise InvalidRequest(message, param=f"{param}.type")
    if len(pictures) > MOST_PICTURES:
        raise InvalidRequest(f"'input' holds at most {MOST_PICTURES} pictures.", param="input")
    return ModerationInput(tuple(texts), tuple(pictures))


def _text(given: Any, param: str, limits: Limits) -> str:
    return text(Field("input", Kind.TEXT, "", max_chars=limits.max_prompt_chars), given, param)
