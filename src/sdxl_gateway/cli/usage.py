"""Shows what keys used, day by day, from the data directory's database, whether or not a server runs on it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from sdxl_gateway.accounts import usage_table
from sdxl_gateway.accounts.usage_table import UsageKey, Used
from sdxl_gateway.cli.asking import plain_problems, settings_for
from sdxl_gateway.storage.database import opened

WHOLE_LINE = 1000


def show_usage(config: Path | None, tenant: str | None, key_id: str | None, rows: int) -> None:
    """One line a day and key, the newest day first; what was used in the last second may not be in it."""
    with plain_problems():
        settings = settings_for(config, None, None)
        with opened(settings.data_directory) as database:
            asked = partial(usage_table.page, limit=rows, tenant=tenant, key_id=key_id)
            found = database.submit(asked).result()
    # A script reads whole lines; a terminal shows what it has room for.
    Console(width=None if sys.stdout.isatty() else WHOLE_LINE).print(_table(found))


def _table(found: Iterable[tuple[UsageKey, Used]]) -> Table:
    titles = ("day", "tenant", "key", "requests", "images", "pixel-steps")
    table = Table(*(Column(title, no_wrap=True) for title in titles), box=None)
    for key, used in found:
        counts = (used.requests, used.images, used.pixel_steps)
        table.add_row(key.day, key.tenant, key.key_id or "-", *map(str, counts))
    return table
