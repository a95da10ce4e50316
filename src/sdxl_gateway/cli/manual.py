"""Prints config.toml, the manual of the settings, from the package, or from the top of a checkout."""

from __future__ import annotations

from pathlib import Path

import typer

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "config.toml", PACKAGE.parents[1] / "config.toml")


def run() -> None:
    """Print the file, byte for byte."""
    typer.echo(manual(PLACES), nl=False)


def manual(places: tuple[Path, ...]) -> bytes:
    """The first of the files that exists."""
    return next(path for path in places if path.is_file()).read_bytes()
