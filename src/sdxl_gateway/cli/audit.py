"""Verifies the audit log's chain, exports its lines, and records actions from a terminal."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import typer

from sdxl_gateway.cli.asking import plain_problems, settings_for, stop
from sdxl_gateway.config import Settings
from sdxl_gateway.core.caller import Caller, Role
from sdxl_gateway.core.events import Acted
from sdxl_gateway.telemetry.audit.chain import Chain, chain_in
from sdxl_gateway.telemetry.audit.export import Wanted, as_csv, as_json, lines_of
from sdxl_gateway.telemetry.audit.records import Records
from sdxl_gateway.telemetry.audit.verify import verify

TERMINAL = "terminal"
"""The tenant of users of the server's own command line."""


def check(config: Path | None, known: str | None) -> None:
    """Prints how many lines there are and the last one's hash. Exits with 1, naming the first line that is wrong."""
    found = verify(_chain(config), known)
    if found.broken is not None:
        stop(f"{found.lines} lines are whole. {found.broken}.")
    typer.echo(f"{found.lines} lines are whole. Line {found.last.seq} is {found.last.digest}")


def export(config: Path | None, wanted: Wanted, form: str) -> None:
    """Prints the lines."""
    lines = lines_of(_chain(config), wanted)
    for text in (as_csv if form == "csv" else as_json)(lines):
        typer.echo(text)


def unix_seconds(day: str | None) -> float | None:
    """The time of "2026-11-26" or "2026-11-26T12:00:00", in UTC unless a zone is given; else the command ends."""
    if day is None:
        return None
    try:
        read = datetime.fromisoformat(day)
    except ValueError:
        stop(f"{day!r} is no day or time, such as 2026-11-26 or 2026-11-26T12:00:00.", status=2)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def write_down(settings: Settings, action: str, target: str, tenant: str, **about: str | int) -> None:
    """Record an action from this terminal, by the user that runs it, in the server's audit log."""
    if not settings.audit.enabled:
        return
    actor = Caller(TERMINAL, frozenset({Role.ADMIN}))
    done = Records().of(Acted(actor, tenant, action, target, about={**about, "user": user()}))
    if done is not None:
        with _told():
            chain_in(settings).append([done[0]], sync=True)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        typer.secho(f"This does not stand in the audit log: {problem.strerror}.", fg=typer.colors.YELLOW, err=True)


def user() -> str:
    """The operating system's name of the user that runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _chain(config: Path | None) -> Chain:
    with plain_problems():
        chain = chain_in(settings_for(config, None, None))
    if not chain.directory.is_dir():
        stop(f"There is no audit log in {chain.directory.absolute()}.")
    return chain
