"""Reads `controls` and the pictures that came with it as ControlRefs; their types are looked up later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.pictures import read_picture
from sdxl_gateway.api.asks.values import (
    checked_digest,
    flag,
    json_text,
    missing,
    number,
    text,
    too_many_entries,
    wrong_type,
)
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import ControlRef, Place, Upload
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.limits import CONTROL_WEIGHT
from sdxl_gateway.core.recipe import Preprocessor
from sdxl_gateway.core.text import shown

PICTURES = "control_image"
TYPE_KEYS = ("type", "model")
PICTURE_KEYS = ("image", "image_url", Place.FILE)
WEIGHT_KEYS = ("weight", "scale", "strength")
OTHER_KEYS = ("start", "end", "mode", "preprocess", "digest")
_TYPE = Field("type", Kind.TEXT, "", max_chars=200)
_MODE = Field("mode", Kind.TEXT, "", max_chars=64)
_WEIGHT = Field("weight", Kind.NUMBER, "", low=0, high=CONTROL_WEIGHT)
_SHARE = Field("start", Kind.NUMBER, "", low=0, high=1)
_PREPROCESSORS = get_args(Preprocessor)


def read_controls(
    given: Any, param: str, pictures: Sequence[Upload], limits: Limits, ignored: list[str]
) -> tuple[ControlRef, ...]:
    """The requested controls; entries without a picture take one of `pictures`, in order.

    Unknown keys of an entry go to `ignored`. Raises InvalidRequest, InvalidImage or BodyTooLarge naming the entry.
    """
    entries = _entries(given, param)
    if len(entries) > limits.max_controls:
        raise too_many_entries(param, limits.max_controls, len(entries))
    beside = iter(pictures)
    found = tuple(_control(one, f"{param}[{i}]", beside, limits, ignored) for i, one in enumerate(entries))
    check_all_used(list(beside))
    return found


def check_all_used(left: Sequence[Upload]) -> None:
    """Raises InvalidRequest naming a picture that no entry uses."""
    if left:
        message = f"Invalid '{left[0].field}': no entry of 'controls' is without a picture, to take this one."
        raise InvalidRequest(message, param=left[0].field)


def _entries(given: Any, param: str) -> list[Any]:
    """The entries, given as a list, as a single entry, or as JSON text of either; any other text is a type's name."""
    if isinstance(given, str) and given.lstrip()[:1] in ("[", "{"):
        given = json_text(given, param)
    if isinstance(given, str | dict):
        return [given]
    if not isinstance(given, list):
        raise wrong_type(param, "an array of controls", given)
    return given


def _control(entry: Any, param: str, beside: Iterator[Upload], limits: Limits, ignored: list[str]) -> ControlRef:
    if isinstance(entry, str):
        entry = {"type": entry}
    if not isinstance(entry, dict):
        raise wrong_type(param, "a string or an object", entry)
    said = {key: value for key, value in entry.items() if value is not None and value != ""}
    known = (*TYPE_KEYS, *PICTURE_KEYS, *WEIGHT_KEYS, *OTHER_KEYS)
    ignored.extend(f"{param}.{key}" for key in said if key not in known)
    start, end = _share(said, "start", 0.0, param), _share(said, "end", 1.0, param)
    if start >= end:
        raise InvalidRequest(f"Invalid '{param}.end': {end:g} is not above the start, {start:g}.", param=f"{param}.end")
    return ControlRef(
        type=_type(said, param),
        weight=_weight(said, param),
        start=start,
        end=end,
        mode=_mode(said, f"{param}.mode"),
        preprocess=_preprocess(said.get("preprocess"), f"{param}.preprocess"),
        digest=checked_digest(said["digest"], f"{param}.digest") if "digest" in said else None,
        image=_picture(said, param, beside, limits.max_image_bytes),
        param=param,
    )


def _type(said: dict[str, Any], param: str) -> str:
    """The type, from either of two synonymous keys, which must not contradict each other."""
    given = {f"{param}.{key}": said[key] for key in TYPE_KEYS if key in said}
    if not given:
        raise missing(f"{param}.type")
    found = [text(_TYPE, value, where).strip() for where, value in given.items()]
    if len(set(found)) > 1:
        raise InvalidRequest(f"Invalid '{param}.model': it contradicts 'type'.", param=f"{param}.model")
    return found[0]


def _weight(said: dict[str, Any], param: str) -> float:
    given = {f"{param}.{key}": said[key] for key in WEIGHT_KEYS if key in said}
    found = {where: number(_WEIGHT, value, where) for where, value in given.items()}
    if len(set(found.values())) > 1:
        *_, last = found
        raise InvalidRequest(f"Invalid '{last}': an entry has one weight.", param=last)
    return next(iter(found.values()), 1.0)


def _share(said: dict[str, Any], key: str, otherwise: float, param: str) -> float:
    return number(_SHARE, said[key], f"{param}.{key}") if key in said else otherwise


def _mode(said: dict[str, Any], param: str) -> str | None:
    given = said.get("mode")
    if type(given) is int:
        given = str(given)
    return None if given is None else text(_MODE, given, param).strip()


def _preprocess(given: Any, param: str) -> bool | str | None:
    """A preprocessor's name, or whether to preprocess at all."""
    word = given.strip().lower() if isinstance(given, str) else given
    if word is None or word in _PREPROCESSORS:
        return word
    try:
        return flag(word, param)
    except InvalidRequest:
        known = ", ".join(f"'{name}'" for name in _PREPROCESSORS)
        message = f"Invalid value: {shown(str(given)[:200])}. Supported values are: true, false, {known}."
        raise InvalidRequest(message, param=param) from None


def _picture(said: dict[str, Any], param: str, beside: Iterator[Upload], max_bytes: int) -> Upload:
    if Place.FILE in said:
        return read_picture({Place.FILE: said[Place.FILE]}, param, max_bytes)
    for key in PICTURE_KEYS:
        if key in said:
            return read_picture(said[key], f"{param}.{key}", max_bytes)
    found = next(beside, None)
    if found is None:
        raise missing(f"{param}.image")
    return found
