"""Creates, lists, changes and revokes keys in the data directory's database, whether or not a server uses it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.table import Column, Table

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.keys import Key
from sdxl_gateway.accounts.pepper import pepper_of
from sdxl_gateway.api.asks.keys import read_change, read_grant
from sdxl_gateway.cli.asking import plain_problems, settings_for, stop
from sdxl_gateway.cli.audit import write_down
from sdxl_gateway.cli.tables import show
from sdxl_gateway.config import Settings
from sdxl_gateway.core.allowance import LIMIT_NAMES
from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.webhooks.store import WebhookStore

T = TypeVar("T")
Pepper = Callable[[], bytes]


def create(config: Path | None, given: Mapping[str, Any]) -> None:
    """Creates a key as POST /v1/admin/keys does; `given` has its fields.

    Only the key is printed to stdout, so that a script can read it.
    """

    async def made(store: KeyStore) -> tuple[str, Key]:
        return await store.create(read_grant(given, time.time()))

    settings, (text, key) = _asked(config, made)
    write_down(settings, "key.created", key.id, key.grant.tenant, roles=" ".join(sorted(key.grant.roles)))
    _show(text, key)


def named_limits(words: Iterable[str]) -> dict[str, int]:
    """The limits in words such as "requests_per_minute=60". Ends with a sentence if one cannot be parsed."""
    said = dict(word.partition("=")[::2] for word in words)
    for name, most in said.items():
        if name not in LIMIT_NAMES or not re.fullmatch("[0-9]{1,18}", most):
            stop(f"--limit wants NAME=NUMBER, the names being {', '.join(LIMIT_NAMES)}.", status=2)
    return {name: int(most) for name, most in said.items()}


def update(config: Path | None, key_id: str, given: Mapping[str, Any]) -> None:
    """Changes a key as POST /v1/admin/keys/{id} does; `given` has its fields."""

    async def changed(store: KeyStore) -> Key:
        return await store.update(key_id, read_change(given, time.time()))

    settings, key = _asked(config, changed)
    write_down(settings, "key.updated", key.id, key.grant.tenant, fields=" ".join(sorted(given)))
    typer.echo(f"{key.id} is good for what was said, from now on.")


def rotate(config: Path | None, key_id: str, grace_hours: float) -> None:
    """Prints the new key; the old one stays valid for at most `grace_hours`."""
    settings, (text, key) = _asked(config, lambda store: store.rotate(key_id, grace_hours * 3600))
    write_down(settings, "key.rotated", key_id, key.grant.tenant, successor=key.id)
    _show(text, key)


def revoke(config: Path | None, key_id: str) -> None:
    """Revokes the key; a running server refuses it within seconds."""
    settings, key = _asked(config, lambda store: store.revoke(key_id))
    write_down(settings, "key.revoked", key.id, key.grant.tenant)
    typer.echo(f"{key.id} opens nothing any more.")


def show_list(config: Path | None) -> None:
    """Prints one line per key."""

    async def all_of(store: KeyStore) -> list[Key]:
        return store.list()

    show(_table(_asked(config, all_of)[1]))


def webhook_secret(config: Path | None, tenant: str, grace_hours: float | None) -> None:
    """Prints only the secret; with `grace_hours` it is a new one, and the previous one stays valid for so long."""

    async def told(database: Database, pepper: Pepper) -> str:
        store = WebhookStore(database, pepper)
        if grace_hours is not None:
            return await store.new_secret(tenant, grace_hours * 3600)
        return (await store.secrets(tenant))[0]

    settings, secret = _told(config, told)
    write_down(settings, "webhook_secret.read" if grace_hours is None else "webhook_secret.rotated", tenant, tenant)
    typer.echo(secret)


def _asked(config: Path | None, question: Callable[[KeyStore], Awaitable[T]]) -> tuple[Settings, T]:
    """The settings, and the store's answer. Ends with a sentence if it fails."""

    async def told(database: Database, pepper: Pepper) -> T:
        store = KeyStore(database, pepper)
        await store.load()
        return await question(store)

    return _told(config, told)


def _told(config: Path | None, question: Callable[[Database, Pepper], Coroutine[Any, Any, T]]) -> tuple[Settings, T]:
    """The settings, and the database's answer. Ends with a sentence if it fails."""
    with plain_problems():
        settings = settings_for(config, None, None)
        pepper = partial(pepper_of, settings.auth.pepper, settings.data_directory)
        with opened(settings.data_directory) as database:
            try:
                return settings, asyncio.run(question(database, pepper))
            except GatewayError as error:
                typer.secho(error.message, fg=typer.colors.RED, err=True)
                raise typer.Exit(1) from None


def _show(text: str, key: Key) -> None:
    typer.echo(text)
    typer.echo(f"{key.id}, for tenant {key.grant.tenant}. It is shown this once: only its digest is kept.", err=True)


def _table(keys: Iterable[Key]) -> Table:
    titles = ("id", "key", "tenant", "name", "roles", "models", "loras", "priority", "limits", "safety", "state")
    table = Table(*(Column(title, no_wrap=True) for title in titles), box=None)
    for key in keys:
        grant = key.grant
        rights = ", ".join(sorted(grant.roles)), ", ".join(grant.models), ", ".join(grant.loras)
        limits = ", ".join(f"{name}={most}" for name, most in grant.limits.said.items())
        said = grant.tenant, grant.name, *rights, grant.priority.word, limits, grant.safety or ""
        table.add_row(key.id, f"{key.prefix}...", *said, _state(key))
    return table


def _state(key: Key) -> str:
    if key.revoked is not None:
        return "revoked"
    if key.grant.expires is None:
        return "live"
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.grant.expires))
    return f"live until {day}" if key.lives(time.time()) else f"expired {day}"
