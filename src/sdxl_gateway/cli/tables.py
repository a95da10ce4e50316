"""Prints tables: whole lines for a script, what fits on a terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

WHOLE_LINE = 1000


def show(table: Table) -> None:
    """Print the table; brackets and colons in names are not interpreted as markup."""
    width = None if sys.stdout.isatty() else WHOLE_LINE
    Console(width=width, markup=False, emoji=False).print(table)
