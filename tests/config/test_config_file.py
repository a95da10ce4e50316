"""config.toml is the manual of the settings: it must name every key, at the default the code has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sdxl_gateway.config import Checkpoint, Control, HouseStyle, Settings, load_settings

FILE = Path(__file__).parents[2] / "config.toml"
TEXT = FILE.read_text("utf-8")
SECTIONS = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def _written() -> dict[str, Any]:
    return tomllib.loads(TEXT)


def _leaves(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and not before:
            yield from _leaves(value, key)
        else:
            yield f"{before}.{key}".lstrip("."), value


def _code_defaults() -> dict[str, Any]:
    plain = Settings().model_dump(mode="json")
    return dict(_leaves(plain))


def test_every_value_in_the_file_is_the_default() -> None:
    defaults = _code_defaults()
    for key, value in _leaves(_written()):
        if key == "checkpoints.demo":
            assert Checkpoint.model_validate(value) == Settings().checkpoints["demo"]
        else:
            assert value == defaults[key], key


def test_every_key_of_the_code_is_in_the_file() -> None:
    absent = {key for key in _code_defaults() if key not in dict(_leaves(_written()))}

    unset = {
        "server.public_base_url",
        "engine.preview_vae",
        "enhancer.base_url",
        "enhancer.key",
        "moderation.base_url",
        "moderation.key",
        "matting.path",
        "auth.pepper",
        "delivery.url_key",
        "limits.tenant_queue_size",
        "traces.endpoint",
        "redis.url",
    }
    assert absent == unset
    for key in ("public_base_url", "path"):
        assert re.search(rf"^# {key} = ", TEXT, re.MULTILINE)


@pytest.mark.parametrize("section", [Checkpoint, Control, HouseStyle])
def test_optional_keys_are_shown_in_comments(section: type[BaseModel]) -> None:
    for key in section.model_fields:
        assert re.search(rf"^(# )?{key} = ", TEXT, re.MULTILINE), f"{section.__name__}.{key}"


def test_the_commented_lines_are_valid_too() -> None:
    uncommented = re.sub(r"^# (?=\[|\w+ = )", "", TEXT, flags=re.MULTILINE)
    settings = Settings(**tomllib.loads(uncommented))

    assert settings.models["storybook"].loras[0].weight == 0.8
    assert settings.checkpoints["demo"].sampler == "euler"


def test_the_file_loads_as_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    assert load_settings(FILE) == Settings() == load_settings()


def test_every_section_is_in_the_file() -> None:
    assert SECTIONS.keys() <= _written().keys()
