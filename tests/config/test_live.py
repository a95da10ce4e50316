"""Each setting is either taken over from a file read again or waits for a restart, and config.toml says which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel, SecretStr

from sdxl_gateway.config import Auth, Checkpoint, HouseStyle, Limits, Server, Settings
from sdxl_gateway.config.live import LIVE, RESTART, read_again

KEYED = Auth(api_keys=(SecretStr("secret"),))
FILE = Path(__file__).parents[2] / "config.toml"


def _settings(section: type[BaseModel], at: str = "") -> Iterator[str]:
    """Every one there can be, with `*` for a name the operator gives."""
    for name, field in section.model_fields.items():
        yield from _under(field.annotation, f"{at}{name}")


def _under(annotation: Any, key: str) -> Iterator[str]:
    if get_origin(annotation) is dict:
        yield from _under(get_args(annotation)[1], f"{key}.*")
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _settings(annotation, f"{key}.")
    else:
        yield key


ALL = tuple(_settings(Settings))
NAMED = "checkpoints|models|styles|controls|upscalers|tenants"


def _rows(key: str) -> list[str]:
    return [row for row in (*LIVE, *RESTART) if f"{key}.".startswith(f"{row}.")]


@pytest.mark.parametrize("key", ALL)
def test_the_table_decides_every_setting_once(key: str) -> None:
    assert len(_rows(key)) == 1, f"{key}: one row of config/live.py says whether it may change while the server runs"


def test_the_table_has_no_row_for_nothing() -> None:
    assert {row for key in ALL for row in _rows(key)} == {*LIVE, *RESTART}


def _marked() -> Iterator[tuple[str, bool]]:
    """Each key of config.toml, those in comments too, and whether its line or its section's is marked."""
    section, whole = "", False
    for line in FILE.read_text("utf-8").splitlines():
        if header := re.match(r"(?:# )?\[([\w.]+)\]", line):
            section, whole = header[1] + ".", "[restart]" in line
        elif key := re.match(r'(?:# )?(?:(\w+)|"[^"]+") = ', line):
            yield (
                re.sub(
                    r"^(checkpoints|models|styles|controls|upscalers|tenants)\.\w+",
                    r"\1.*",
                    f"{section}{key[1] or '*'}",
                ),
                whole or "[restart]" in line,
            )


def test_the_file_says_what_needs_a_restart() -> None:
    marked = dict(_marked())
    assert set(marked) == set(ALL)
    assert {key for key, mark in marked.items() if mark} == {key for key in marked if _rows(key)[0] in RESTART}


def test_what_may_change_is_taken_and_the_rest_is_named() -> None:
    running = Settings(aliases={"old": "demo"}, server=Server(port=1))
    read = Settings(
        aliases={"new": "demo"},
        models={"style": HouseStyle(steps=3)},
        server=Server(port=2, strict=True),
        limits=Limits(max_steps=5, queue_size=1),
        auth=KEYED,
    )
    found = read_again(running, read)
    assert (found.settings.server.port, found.settings.server.strict) == (1, True)
    assert (found.settings.limits.max_steps, found.settings.limits.queue_size) == (5, 64)
    assert (found.settings.aliases, found.settings.models, found.settings.auth) == (
        read.aliases,
        read.models,
        read.auth,
    )
    assert {"aliases.old", "aliases.new", "server.strict", "limits.max_steps", "auth.api_keys"} <= {*found.changed}
    assert "models.style.steps" in found.changed
    assert found.waiting == ("server.port", "limits.queue_size")


def test_checkpoints_stay_and_follow_in_what_they_bring_to_requests() -> None:
    running = Settings(checkpoints={"a": Checkpoint(path="x", steps=1), "b": Checkpoint(path="y")})
    read = Settings(checkpoints={"a": Checkpoint(path="z", steps=2), "c": Checkpoint(path="y")})
    found = read_again(running, read)
    assert found.settings.checkpoints == {"a": Checkpoint(path="x", steps=2), "b": Checkpoint(path="y")}
    assert found.changed == ("checkpoints.a.steps",)
    assert {"checkpoints.a.path", "checkpoints.b.path", "checkpoints.c.path"} <= {*found.waiting}


def test_the_same_again_changes_nothing() -> None:
    running = Settings(auth=KEYED)
    found = read_again(running, Settings(auth=KEYED))
    assert (found.settings, found.changed, found.waiting) == (running, (), ())
