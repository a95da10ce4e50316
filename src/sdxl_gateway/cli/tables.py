"""Takes a table, prints it as it is: whole lines for a script, what there is room for on a terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

WHOLE_LINE = 1000


def show(table: Table) -> None:
    """Brackets and colons in names are characters like any other."""
    width = None if sys.stdout.isatty() else WHOLE_LINE
    Console(width=width, markup=False, emoji=False).print(table)
