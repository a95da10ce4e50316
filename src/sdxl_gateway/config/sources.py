"""Loads the settings from flags, environment and config.toml, in that order of precedence."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from sdxl_gateway.config.sections import ENVIRONMENT_PREFIX, Settings

DEFAULT_FILE = Path("config.toml")


class ConfigProblem(Exception):
    """The settings are invalid; each of `problems` names a key and where it was set."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Layer:
    """Settings from one source; `name` is its name in messages."""

    name: str
    values: dict[str, Any]


def load_settings(config_file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Flags over environment over file over defaults; without `config_file`, ./config.toml if there is one.

    `overrides` is nested as the sections are. Raises ConfigProblem.
    """
    layers = [_Layer("the command line", dict(overrides or {})), _environment(), _file(config_file)]
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged = _merge(merged, layer.values)
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise ConfigProblem(*_problems(error, merged, layers)) from None


def cautions(settings: Settings) -> tuple[str, ...]:
    """Warnings on settings that are valid but risky, one sentence each."""
    return tuple(_cautions(settings))


def _cautions(settings: Settings) -> Iterator[str]:
    if settings.reachable and settings.auth.allow_anonymous and not settings.auth.api_keys:
        yield (
            f"Anybody who can reach {settings.server.host} may use this server for as long as it has no key: "
            "auth.allow_anonymous is true."
        )
    if settings.engine.restart_backoff_seconds > settings.engine.restart_backoff_max_seconds:
        yield "engine.restart_backoff_seconds is above engine.restart_backoff_max_seconds, which wins."


def _environment() -> _Layer:
    found = EnvSettingsSource(Settings)()
    for name in os.environ:
        first = name.upper().removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower()
        if name.upper().startswith(ENVIRONMENT_PREFIX) and first not in Settings.model_fields:
            found[first] = os.environ[name]
    return _Layer("the environment", found)


def _file(path: Path | None) -> _Layer:
    if path is None and not DEFAULT_FILE.exists():
        return _Layer("", {})
    chosen = path or DEFAULT_FILE
    try:
        return _Layer(str(chosen), tomllib.loads(chosen.read_text("utf-8")))
    except OSError as error:
        raise ConfigProblem(f"{chosen}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise ConfigProblem(f"{chosen}: not valid TOML: {error}.") from None


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        merged[key] = _merge(under, value) if both and under is not None else value
    return merged


def _problems(error: ValidationError, merged: dict[str, Any], layers: list[_Layer]) -> list[str]:
    said: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        key = _key(detail, merged)
        place = _place(key, layers)
        wrong = _wrong(detail, key)
        start = f"{'.'.join(key)} ({place})" if place else ".".join(key)
        if wrong not in said.setdefault(start, []):
            said[start].append(wrong)
    return [_sentence(f"{start}: {', or '.join(wrong)}") for start, wrong in said.items()]


def _sentence(words: str) -> str:
    return words if words.endswith("?") else f"{words}."


def _key(detail: ErrorDetails, merged: dict[str, Any]) -> tuple[str, ...]:
    """The part of pydantic's location that the operator wrote: names of union branches and indices dropped."""
    loc = tuple(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return loc
    depth, node = 0, merged
    while depth < len(loc) and isinstance(node, dict) and loc[depth] in node:
        node, depth = node[loc[depth]], depth + 1
    return loc[:depth]


def _place(key: tuple[str, ...], layers: list[_Layer]) -> str:
    for layer in layers:
        if _holds(layer.values, key):
            variable = f"{ENVIRONMENT_PREFIX}{'__'.join(key).upper()}"
            return variable if layer.name == "the environment" else layer.name
    return ""


def _holds(values: object, key: tuple[str, ...]) -> bool:
    for part in key:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _wrong(detail: ErrorDetails, key: tuple[str, ...]) -> str:
    if detail["type"] == "extra_forbidden":
        near = _in_sections(key) or get_close_matches(key[-1], _known_beside(key), n=1, cutoff=0.5)
        return "no such setting" + (f"; did you mean '{near[0]}'?" if near else "")
    if detail["type"] == "model_type":
        return "should be a table of settings"
    if detail["type"] == "missing":
        return "is required"
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    return text[:1].lower() + text[1:]


def _in_sections(key: tuple[str, ...]) -> list[str]:
    """For a setting that was written outside of any section: the sections that have it."""
    sections = Settings.model_fields.items() if len(key) == 1 else ()
    return [f"{name}.{key[0]}" for name, field in sections if key[0] in getattr(field.annotation, "model_fields", ())]


def _known_beside(key: tuple[str, ...]) -> list[str]:
    """The valid setting names at this place."""
    section: type[BaseModel] = Settings
    for part in key[:-1]:
        field = section.model_fields.get(part)
        if field is None:
            continue
        section = next((c for c in _classes(field.annotation)), section)
    return list(section.model_fields)


def _classes(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _classes(argument)
