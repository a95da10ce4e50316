"""Shows keys' usage by day, from the data directory's database, whether or not a server uses it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rich.table import Column, Table

from sdxl_gateway.accounts import usage_table
from sdxl_gateway.accounts.usage_table import UsageKey, Used
from sdxl_gateway.cli.asking import plain_problems, settings_for
from sdxl_gateway.cli.tables import show
from sdxl_gateway.storage.database import opened


def show_usage(config: Path | None, tenant: str | None, key_id: str | None, rows: int) -> None:
    """Prints one line per day and key, newest day first; usage in the last second may be missing."""
    with plain_problems():
        settings = settings_for(config, None, None)
        with opened(settings.data_directory) as database:
            asked = partial(usage_table.page, limit=rows, tenant=tenant, key_id=key_id)
            found = database.submit(asked).result()
    show(_table(found))


def _table(found: Iterable[tuple[UsageKey, Used]]) -> Table:
    titles = ("day", "tenant", "key", "requests", "images", "pixel-steps")
    table = Table(*(Column(title, no_wrap=True) for title in titles), box=None)
    for key, used in found:
        counts = (used.requests, used.images, used.pixel_steps)
        table.add_row(key.day, key.tenant, key.key_id or "-", *map(str, counts))
    return table
