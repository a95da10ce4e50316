"""What was used is remembered by day, tenant and key, whatever the disk does meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.accounts.usage_table import UsageKey, Used
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import StorageFull
from sdxl_gateway.storage.database import Database, opened

DAY = 86_400.0
ART, OTHER = Caller("art", key_id="key_a"), Caller("other")


@dataclass
class Bench:
    database: Database
    now: float = 20_000 * DAY

    def usage(self) -> Usage:
        return Usage(self.database, lambda: self.now)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as database:
        yield Bench(database)


async def test_a_restart_knows_what_was_used_today(bench: Bench) -> None:
    before = bench.usage()
    before.add(ART, Used(1, 2, 300))
    before.add(OTHER, Used(1, 1, 50))
    await before.write()
    bench.now += DAY - 1
    assert dict(await bench.usage().pixel_steps_today()) == {"tenant art": 300, "key key_a": 300, "tenant other": 50}
    bench.now += 1
    assert await bench.usage().pixel_steps_today() == []


async def test_a_day_adds_up(bench: Bench) -> None:
    usage = bench.usage()
    for _ in range(3):
        usage.add(ART, Used(1, 2, 300))
        await usage.write()
    usage.add(ART, -Used(images=2, pixel_steps=300))
    assert await usage.page(10) == [(UsageKey("2024-10-04", "art", "key_a"), Used(3, 4, 600))]


async def test_pages_hold_every_row_once_the_newest_first(bench: Bench) -> None:
    usage = bench.usage()
    for day in range(5):
        bench.now = (20_000 + day) * DAY
        for caller in (ART, OTHER):
            usage.add(caller, Used(requests=day + 1))
    found: list[tuple[UsageKey, Used]] = []
    while page := await usage.page(3, found[-1][0] if found else None):
        found += page
    assert len(found) == len({key for key, _ in found}) == 10
    assert [key.day for key, _ in found] == sorted((key.day for key, _ in found), reverse=True)
    assert {key.tenant for key, _ in await usage.page(99, tenant="art")} == {"art"}
    assert len(await usage.page(99, key_id="key_a")) == 5


async def test_a_full_disk_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = bench.usage()
    usage.add(ART, Used(1, 1, 10))
    real = bench.database.run

    async def full(work: Any) -> Any:
        raise StorageFull("full")

    monkeypatch.setattr(bench.database, "run", full)
    with pytest.raises(StorageFull):
        await usage.write()
    usage.add(ART, Used(1, 1, 10))
    monkeypatch.setattr(bench.database, "run", real)
    assert [used for _, used in await usage.page(9)] == [Used(2, 2, 20)]


async def test_what_was_not_written_yet_is_at_the_end(bench: Bench) -> None:
    usage = bench.usage()
    writing = asyncio.create_task(usage.writing())
    await asyncio.sleep(0.05)
    usage.add(ART, Used(requests=1))
    writing.cancel()
    await asyncio.wait([writing])
    assert await bench.database.run(partial(_rows)) == 1


def _rows(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM usage").fetchone()[0])


async def test_a_tenants_usage_can_be_taken_out_and_erased(bench: Bench) -> None:
    usage = bench.usage()
    usage.add(ART, Used(1, 1, 10))
    usage.add(OTHER, Used(1, 1, 10))
    assert await usage.export("art") == [
        {"day": "2024-10-04", "tenant": "art", "key_id": "key_a", "requests": 1, "images": 1, "pixel_steps": 10}
    ]
    assert await usage.erase("art") == 1
    assert await usage.export("art") == []
    assert await usage.forget_before(bench.now) == 0
    assert await usage.forget_before(bench.now + DAY) == 1
