"""Shows, changes and reverts rollouts' shares in the data directory's database, whether or not a server runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import typer
from rich.table import Column, Table

from sdxl_gateway.admission.rollouts import configured, in_force
from sdxl_gateway.cli.asking import plain_problems, settings_for, stop
from sdxl_gateway.cli.audit import TERMINAL, user, write_down
from sdxl_gateway.cli.tables import show
from sdxl_gateway.config import Settings
from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.rollout import Shares, raised
from sdxl_gateway.core.text import shown
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.rollout_table import Change
from sdxl_gateway.storage.rollouts import RolloutStore

T = TypeVar("T")


def show_list(config: Path | None) -> None:
    """Prints one line per arm."""

    async def told(settings: Settings, store: RolloutStore) -> list[tuple[str, ...]]:
        lines: list[tuple[str, ...]] = []
        for name, shares in in_force(configured(settings), store.shares).items():
            last = store.last(name)
            changed = ("", "") if last is None else (_time(last.at), last.who)
            own = settings.models[name].shares
            lines += [(name, target, f"{share:g}", f"{own[target]:g}", *changed) for target, share in shares.items()]
        return lines

    _show(("rollout", "target", "share", "config.toml", "changed", "by"), _asked(config, told)[1])


def promote(config: Path | None, name: str, target: str, share: float) -> None:
    """Gives the arm that share of 100; the others keep their proportions in the rest."""

    async def done(settings: Settings, store: RolloutStore) -> Change:
        shares = _known(settings, store, name)
        if target not in shares:
            stop(f"{shown(name)} has no arm {shown(target)}; it has {', '.join(map(shown, shares))}.")
        return await store.promote(name, raised(shares, target, share), user())

    settings, change = _asked(config, done)
    write_down(settings, "rollout.promoted", name, TERMINAL, shares=_words(change.shares))
    _tell(change)


def back(config: Path | None, name: str) -> None:
    """Restores the shares before the last promotion."""

    async def done(settings: Settings, store: RolloutStore) -> Change:
        _known(settings, store, name)
        return await store.back(name, user())

    settings, change = _asked(config, done)
    write_down(settings, "rollout.back", name, TERMINAL, shares=_words(change.shares))
    _tell(change)


def show_history(config: Path | None, name: str) -> None:
    """Prints one line per change, oldest first; also of a rollout that is no longer configured."""

    async def told(_: Settings, store: RolloutStore) -> list[Change]:
        return await store.history(name)

    changes = _asked(config, told)[1]
    lines = [(_time(one.at), one.who, one.action, _words(one.shares)) for one in changes]
    _show(("when", "who", "what", "shares since"), lines)


def _known(settings: Settings, store: RolloutStore, name: str) -> Shares:
    found = in_force(configured(settings), store.shares)
    if name not in found:
        stop(f"There is no rollout {shown(name)} in the configuration.")
    return found[name]


def _asked(config: Path | None, question: Callable[[Settings, RolloutStore], Awaitable[T]]) -> tuple[Settings, T]:
    """The settings, and the store's answer. Ends with a sentence if it fails."""
    with plain_problems():
        settings = settings_for(config, None, None)
        with opened(settings.data_directory) as database:
            try:
                return settings, asyncio.run(_answered(settings, RolloutStore(database), question))
            except GatewayError as error:
                stop(error.message)


async def _answered(
    settings: Settings, store: RolloutStore, question: Callable[[Settings, RolloutStore], Awaitable[T]]
) -> T:
    await store.load()
    return await question(settings, store)


def _tell(change: Change) -> None:
    typer.echo(f"{change.rollout} is shared out so from now on: {_words(change.shares)}.")


def _words(shares: Shares | None) -> str:
    return "as config.toml says" if shares is None else ", ".join(f"{name} {share:g}" for name, share in shares.items())


def _time(unix_seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_seconds))


def _show(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    table = Table(*(Column(title, no_wrap=True) for title in titles), box=None)
    for line in lines:
        table.add_row(*line)
    # Scripts get whole lines; a terminal shows what fits.
    show(table)
