"""Reads a LoRA's defaults from its side-car, `NAME.toml`, and its file's own metadata."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.lora_folder.names import without_suffix
from sdxl_gateway.catalog.lora_format.few_steps import FewSteps, few_steps
from sdxl_gateway.catalog.safetensors_header import open_regular_file
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.limits import CLIP_SKIP, GUIDANCE_SCALE, LORA_WEIGHT, STEPS
from sdxl_gateway.core.samplers import SCHEDULES, read_schedule
from sdxl_gateway.core.text import cleaned

SUFFIX = ".toml"
MAX_SIDECAR_BYTES = 64 * 2**10
MAX_TEXT_CHARS = 500
MAX_WORD_CHARS = 200
MAX_WORDS = 20
GUESSED_WORDS = 5
NEARLY_ALWAYS_PERCENT = 90
"""A tag is used as a trigger word if it is nearly as frequent as the most frequent one."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values that apply if the caller does not set them; None or empty if unknown."""

    weight: float | None = None
    text_encoder_weight: float | None = None
    trigger_words: tuple[str, ...] = ()
    add_trigger_words: bool = False
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    description: str | None = None
    title: str | None = None
    schedule: str | None = None
    eta: float | None = None
    clip_skip: int | None = None
    said: tuple[str, ...] = ()
    """The names of the fields that the side-car sets."""


NOTHING_KNOWN = Defaults()


def sidecar_path(lora: Path) -> Path:
    """The path of the side-car of a file, or of a PEFT folder."""
    return lora.with_name(without_suffix(lora.name) + SUFFIX)


def with_sidecar(defaults: Defaults, path: Path) -> tuple[Defaults, tuple[str, ...]]:
    """`defaults` overridden by the side-car at `path`, and its problems, each naming the file and the key."""
    try:
        table = read_table(path)
    except ValueError as problem:
        return defaults, (f"{path.name}: {problem}.",)
    return _overridden(defaults, table, path.name)


def read_table(path: Path) -> dict[str, Any]:
    """The side-car's keys and values. Raises ValueError with what is wrong with the file, without its name."""
    return _parsed(_read(path))


def read_text(path: Path) -> str:
    """The side-car's text, if it can be read. Raises as `read_table`."""
    raw = _read(path)
    _parsed(raw)
    return raw.decode("utf-8")


def _read(path: Path) -> bytes:
    try:
        with open_regular_file(path) as file:
            raw = file.read(MAX_SIDECAR_BYTES + 1)
    except AdapterRefused:
        raise ValueError("cannot be read") from None
    if len(raw) > MAX_SIDECAR_BYTES:
        raise ValueError(f"is longer than {MAX_SIDECAR_BYTES} bytes")
    return raw


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("is not valid TOML") from None


def _overridden(defaults: Defaults, table: Mapping[str, Any], name: str) -> tuple[Defaults, tuple[str, ...]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in table.items():
        if key not in _READERS:
            problems.append(f"{name}: unknown key '{key[:60]}'.")
            continue
        try:
            values[key] = _READERS[key](value)
        except ValueError as error:
            problems.append(f"{name}: '{key}' {error}.")
    return replace(defaults, **values, said=tuple(values)), tuple(problems)


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"is not a number between {low:g} and {high:g}")
        return float(value)

    return read


def _whole_number(high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not 1 <= value <= high:
            raise ValueError(f"is not a whole number between 1 and {high}")
        return value

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("is not a text")
    return cleaned(value, MAX_TEXT_CHARS)


def _schedule(value: Any) -> str:
    schedule = read_schedule(value) if isinstance(value, str) else None
    if schedule is None:
        raise ValueError(f"is none of {', '.join(SCHEDULES)}")
    return schedule


def _words(value: Any) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("is neither a text nor a list of texts")
    return tuple(cleaned(word, MAX_WORD_CHARS) for word in words[:MAX_WORDS] if word.strip())


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "weight": _number(-LORA_WEIGHT, LORA_WEIGHT),
    "text_encoder_weight": _number(-LORA_WEIGHT, LORA_WEIGHT),
    "trigger_words": _words,
    "add_trigger_words": _flag,
    "steps": _whole_number(STEPS),
    "guidance_scale": _number(0, GUIDANCE_SCALE),
    "sampler": _text,
    "schedule": _schedule,
    "eta": _number(0, 1),
    "clip_skip": _whole_number(CLIP_SKIP),
    "description": _text,
}


def told_defaults(metadata: Mapping[str, str], name: str = "") -> Defaults:
    """Defaults from the file's metadata and name: untrusted texts, so they are cut short, and to one line."""
    known = distilled(few_steps(name, metadata))
    if not metadata:
        return known
    return replace(
        known,
        trigger_words=_told_words(metadata),
        description=_told(metadata, "modelspec.description"),
        title=_told(metadata, "modelspec.title") or _told(metadata, "ss_output_name"),
    )


def distilled(found: FewSteps | None) -> Defaults:
    """The defaults of a model that was distilled for few steps; none if it was not."""
    if found is None:
        return NOTHING_KNOWN
    return Defaults(
        steps=found.steps,
        guidance_scale=found.guidance_scale,
        sampler=found.sampler,
        schedule=found.schedule,
        eta=found.eta,
    )


def _told(metadata: Mapping[str, str], key: str) -> str | None:
    return cleaned(metadata.get(key, ""), MAX_TEXT_CHARS) or None


def _told_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    phrase = cleaned(metadata.get("modelspec.trigger_phrase", ""), MAX_WORD_CHARS)
    return (phrase,) if phrase else _frequent_tags(metadata.get("ss_tag_frequency", ""))


def _frequent_tags(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    counts: dict[str, int] = {}
    try:
        folders = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            counts[tag] = counts.get(tag, 0) + (count if type(count) is int else 0)
    top = max(counts.values(), default=0)
    # In integers: a file may claim more tags than a float can count.
    often = sorted((-count, tag) for tag, count in counts.items() if top and 100 * count >= NEARLY_ALWAYS_PERCENT * top)
    return tuple(word for _, tag in often[:GUESSED_WORDS] if (word := cleaned(tag, MAX_WORD_CHARS)))
