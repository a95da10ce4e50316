"""Reads `loras`, in any of its common spellings, as LoraRefs; the names are looked up later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sdxl_gateway.api.asks.fields import MAX_LORAS
from sdxl_gateway.api.asks.values import (
    checked_digest,
    clean,
    finite,
    json_text,
    missing,
    too_many_entries,
    unreadable,
    wrong_type,
)
from sdxl_gateway.catalog.model_grammar import MAX_NAME_CHARS, checked_blocks, split_part
from sdxl_gateway.core.ask import LoraRef
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.limits import LORA_WEIGHT

NAME_KEYS = ("name", "lora", "lora_name", "model", "model_name", "path")
WEIGHT_KEYS = ("weight", "scale", "strength", "strength_model", "lora_scale")
BLOCK_KEYS = ("blocks", "lbw", "block_weights")
TEXT_WEIGHT_KEYS = ("text_encoder_weight", "te_weight", "strength_clip")
DIGEST = "digest"
MAX_TEXT_CHARS = 128 * 1024


def read_loras(given: Any, param: str, ignored: list[str]) -> tuple[LoraRef, ...]:
    """The requested LoRAs. Unknown keys of an entry go to `ignored`. Raises InvalidRequest naming the entry."""
    entries = _entries(given, param)
    if len(entries) > MAX_LORAS:
        raise too_many_entries(param, MAX_LORAS, len(entries))
    return tuple(ask for index, entry in enumerate(entries) for ask in _asks(entry, f"{param}[{index}]", ignored))


def with_default_weight(loras: tuple[LoraRef, ...], weight: float | None) -> tuple[LoraRef, ...]:
    """The same LoRAs, with `weight` for those that have none."""
    if weight is None:
        return loras
    return tuple(replace(lora, weight=weight) if lora.weight is None else lora for lora in loras)


def _entries(given: Any, param: str) -> list[Any]:
    if isinstance(given, str):
        given = _from_text(given, param)
    if isinstance(given, dict):
        return [given] if any(key in given for key in NAME_KEYS) else _from_mapping(given)
    if isinstance(given, list):
        return given
    raise wrong_type(param, "an array of LoRAs", given)


def _from_mapping(given: dict[str, Any]) -> list[Any]:
    """`{"watercolor": 0.8}`: names with their weights."""
    return [{"name": name, "weight": weight} for name, weight in given.items()]


def _from_text(given: str, param: str) -> Any:
    """The entries: JSON if the text looks like JSON, else names joined by `+`."""
    _check_length(given, param)
    if given.lstrip()[:1] not in ("[", "{"):
        return [piece for piece in given.split("+") if piece.strip()]
    return json_text(given, param)


def _check_length(given: str, param: str) -> None:
    """Refuse overlong text before it is split, which is expensive; sixteen names of full length are far shorter."""
    if len(given) > MAX_TEXT_CHARS:
        message = f"Invalid '{param}': a text has at most {MAX_TEXT_CHARS} characters here."
        raise InvalidRequest(message, param=param, code="string_above_max_length")


def _asks(entry: Any, param: str, ignored: list[str]) -> list[LoraRef]:
    if isinstance(entry, str):
        _check_length(entry, param)
        return [_from_word(piece, param) for piece in entry.split("+")]
    if isinstance(entry, dict):
        return [_from_object(entry, param, ignored)]
    raise wrong_type(param, "a string or an object", entry)


def _from_word(given: str, param: str) -> LoraRef:
    part = split_part(_name(given, param), param=param)
    return LoraRef(_name(part.name, param), part.weight, param=param)


def _from_object(entry: dict[str, Any], param: str, ignored: list[str]) -> LoraRef:
    given = {key: value for key, value in entry.items() if value is not None}
    known = (*NAME_KEYS, *WEIGHT_KEYS, *TEXT_WEIGHT_KEYS, *BLOCK_KEYS, DIGEST)
    ignored.extend(f"{param}.{key}" for key in given if key not in known)
    key = next((key for key in NAME_KEYS if key in given), None)
    if key is None:
        raise missing(f"{param}.name")
    if not isinstance(given[key], str):
        raise wrong_type(f"{param}.{key}", "a string", given[key])
    return LoraRef(
        _name(given[key], f"{param}.{key}"),
        _weight(given, WEIGHT_KEYS, param),
        _weight(given, TEXT_WEIGHT_KEYS, param),
        param,
        _blocks(given, param),
        checked_digest(given[DIGEST], f"{param}.{DIGEST}") if DIGEST in given else None,
    )


def _blocks(given: dict[str, Any], param: str) -> tuple[float, ...]:
    """12 or 20 block weights, as a list or as text with commas; empty if none are given."""
    key = next((key for key in BLOCK_KEYS if given.get(key, "") != ""), None)
    if key is None:
        return ()
    where, value = f"{param}.{key}", given[key]
    values = value.split(",") if isinstance(value, str) else value
    if not isinstance(values, list):
        raise wrong_type(where, "an array of numbers", value)
    return checked_blocks([_checked(one, f"{where}[{index}]") for index, one in enumerate(values)], param=where)


def _name(given: str, param: str) -> str:
    name = clean(given.strip(), param)
    if not name:
        raise missing(param, given=True)
    if len(name) > MAX_NAME_CHARS:
        raise InvalidRequest(
            f"Invalid '{param}': a LoRA name has at most {MAX_NAME_CHARS} characters.",
            param=param,
            code="string_above_max_length",
        )
    return name


def _weight(given: dict[str, Any], keys: tuple[str, ...], param: str) -> float | None:
    """The weight of an entry; if it is given under several keys, they must agree."""
    said = {f"{param}.{key}": _checked(given[key], f"{param}.{key}") for key in keys if given.get(key, "") != ""}
    if len(set(said.values())) > 1:
        first, *_, last = said
        raise InvalidRequest(f"Invalid '{last}': it contradicts '{first}'; an entry has one weight.", param=last)
    return next(iter(said.values()), None)


def _checked(given: Any, param: str) -> float:
    weight = finite(given)
    if weight is None:
        raise unreadable(param, "a finite number", given)
    if not -LORA_WEIGHT <= weight <= LORA_WEIGHT:
        raise InvalidRequest(
            f"Invalid '{param}': a LoRA weight lies between -{LORA_WEIGHT:g} and {LORA_WEIGHT:g}; {weight:g} does not.",
            param=param,
        )
    return weight
