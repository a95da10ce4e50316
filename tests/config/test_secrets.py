"""Nothing that is secret can be printed: not by settings, nor by callers, keys, requests or errors made of them."""

from __future__ import annotations

import base64
import io
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.keys import KeyGrant
from sdxl_gateway.config import ConfigProblem, Settings, Telemetry, load_settings
from sdxl_gateway.config.shown import MASK, shown_settings
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.open_seal import open_seal
from sdxl_gateway.telemetry.logs import configure_logs
from tests.kit.api import GENERATE, client, served_api

SECRET = "s3cr3t-that-nobody-prints"
WORDS = ("key", "keys", "secret", "secrets", "pepper", "password", "token")


def _sections(section: type[BaseModel], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting there can be, by its path; of those under an operator's names, one called "a"."""
    for name, field in section.model_fields.items():
        yield from _under(field.annotation, (*at, name))


def _under(annotation: Any, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = [one for one in get_args(annotation) if one is not str]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _sections(annotation, at)
    elif getattr(annotation, "__origin__", None) is dict:
        yield from _under(inner[-1] if inner else str, (*at, "a"))
    else:
        yield at, annotation


def _mentions_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_mentions_secret(one) for one in get_args(annotation))


SECRET_KEYS = [path for path, annotation in _sections(Settings) if _mentions_secret(annotation)]


def test_whatever_is_called_a_secret_is_typed_as_one() -> None:
    named = [path for path, _ in _sections(Settings) if set(path[-1].split("_")) & set(WORDS)]
    plain = {".".join(path) for path in named if path not in SECRET_KEYS}
    assert plain <= {"auth.wrong_keys_per_minute"}
    assert len(SECRET_KEYS) >= 5


def _with_secret(path: tuple[str, ...]) -> Settings:
    value: Any = SECRET
    if "keys" in path[-1] or path[-1] == "secrets":
        value = [SECRET]
    for name in reversed(path):
        value = {name: value}
    return Settings(**value)


@pytest.mark.parametrize("path", SECRET_KEYS, ids=".".join)
def test_settings_do_not_print_it(path: tuple[str, ...]) -> None:
    settings = _with_secret(path)
    section = getattr(settings, path[0])
    told = io.StringIO()
    logger = logging.Logger("of its own")
    logger.addHandler(logging.StreamHandler(told))
    logger.warning("%s %r %s", settings, settings, section)
    printed = (repr(settings), str(settings), f"{section}", str(settings.model_dump()), settings.model_dump_json())
    assert SECRET not in "".join((*printed, told.getvalue(), str(settings.engine_process())))


@pytest.mark.parametrize("path", SECRET_KEYS, ids=".".join)
def test_operators_read_that_it_is_set_and_not_what_it_is(path: tuple[str, ...]) -> None:
    told = {one.key: one for one in shown_settings(_with_secret(path))}
    one = told[".".join(path)]
    assert (one.secret, one.is_default) == (True, False)
    assert MASK in (one.value if isinstance(one.value, list) else [one.value])
    assert SECRET not in repr(told)


def test_operators_read_which_settings_are_secret_where_none_is_set() -> None:
    assert {one.key for one in shown_settings(Settings()) if one.secret} == {".".join(path) for path in SECRET_KEYS}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (f"https://me:{SECRET}@host:9/v1", f"https://{MASK}@host:9/v1"),
        (f"http://{SECRET}@host", f"http://{MASK}@host"),
        (f"https://host/v1?key={SECRET}#x", f"https://host/v1?{MASK}"),
        ("http://[::1/v1", "http://[::1/v1"),
        ("https://host/v1", "https://host/v1"),
    ],
)
@pytest.mark.parametrize("key", ["enhancer.base_url", "moderation.base_url", "traces.endpoint", "s3.endpoint"])
def test_addresses_are_read_without_what_lets_in(key: str, written: str, read: str) -> None:
    section, name = key.split(".")
    told = {one.key: one.value for one in shown_settings(Settings.model_validate({section: {name: written}}))}
    assert told[key] == read


@pytest.mark.parametrize("path", SECRET_KEYS, ids=".".join)
def test_settings_that_cannot_be_do_not_either(path: tuple[str, ...], tmp_path: Path) -> None:
    """Neither in the sentences of a refusal, nor in what a traceback of it would show."""
    file = tmp_path / "config.toml"
    file.write_text(f"[{'.'.join(path[:-1])}]\n{path[-1]} = {{ wrong = {json.dumps(SECRET)} }}\n", "utf-8")
    with pytest.raises(ConfigProblem) as told:
        load_settings(file)
    assert SECRET not in "".join(map(str, told.value.problems))
    assert SECRET not in "".join(traceback.format_exception(told.value))


async def test_keys_are_in_no_callers_or_keys_words(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        store = KeyStore(database, lambda: SECRET.encode())
        text, key = await store.create(KeyGrant("art", name="posters"))
        held = store.holder(text.encode())
        assert held is not None
        printed = f"{key!r} {key.plain} {held.caller!r} {store!r} {store.list()!r}"
    assert text not in printed
    assert SECRET not in printed


@pytest.mark.usefixtures("logs_as_they_were")
async def test_a_request_leaves_its_key_in_no_log_and_no_event() -> None:
    told = io.StringIO()
    configure_logs(Telemetry(log_level="debug", log_format="json"), told)
    served = served_api(auth={"api_keys": [SECRET]})
    async with client(served) as http:
        for headers in ({"authorization": f"Bearer {SECRET}"}, {"x-api-key": SECRET}, {"api-key": f"{SECRET}-wrong"}):
            answer = await http.post(GENERATE, json={"prompt": "a", "steps": "many"}, headers=headers)
            assert SECRET not in answer.text
    assert SECRET not in told.getvalue() + repr(served.seen) + repr(served.told) + repr(served.gateway.callers)


def test_a_seal_does_not_print_its_keys(tmp_path: Path) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    seal = open_seal([SecretStr(key)], tmp_path)
    assert key not in repr(seal)
    assert "kkkk" not in repr(seal) + "".join(path.read_text("utf-8") for path in tmp_path.iterdir())
