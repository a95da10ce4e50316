"""What is remembered of webhooks: whose it is, for how long, and what a full disk does to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import InvalidRequest, NotFound, StorageFull
from sdxl_gateway.core.webhook import DeliveryState
from tests.kit.webhooks import START, webhook_kit

URL = "https://example.org/hook"
DAY = 24 * 3600.0


async def test_pages_are_of_one_tenant_the_latest_first(tmp_path: Path) -> None:
    async with webhook_kit(tmp_path) as kit:
        made = []
        for number in range(7):
            kit.now += number % 2
            made.append(await kit.enqueue(URL, f"job_{number}"))
            await kit.enqueue(URL, f"job_{number}", tenant="ops", event="image.job.failed")
        found, after, more = list[str](), None, True
        while more:
            page, more = await kit.store.page("art", 3, after)
            found += [one.id for one in page]
            after = page[-1].id
        assert (len(found), set(found)) == (7, set(made))
        assert [one.subject for one in (await kit.store.page("art", 1))[0]] == ["job_6"] or found[0] in made[-2:]
        (foreign,), _ = await kit.store.page("ops", 1)
        with pytest.raises(InvalidRequest) as refused:
            await kit.store.page("art", 3, foreign.id)
        assert refused.value.param == "after"
        with pytest.raises(NotFound):
            await kit.store.find("art", foreign.id)


async def test_a_tenants_own_is_exported_and_erased(tmp_path: Path) -> None:
    async with webhook_kit(tmp_path) as kit:
        for number in range(3):
            await kit.enqueue(URL, f"job_{number}", status="completed")
        await kit.enqueue(URL, "job_9", tenant="ops")
        secret = await kit.store.new_secret("art", 0)
        told = await kit.store.export("art")
        assert sorted(one["subject"] for one in told) == ["job_0", "job_1", "job_2"]
        assert secret not in str(told)
        assert (await kit.store.erase("art"), await kit.store.erase("art")) == (3, 0)
        assert (await kit.store.export("art"), len(await kit.store.export("ops"))) == ([], 1)
        assert await kit.store.secrets("art") == [secret]


async def test_what_is_over_is_forgotten_and_what_is_not_is_not(tmp_path: Path) -> None:
    async with webhook_kit(tmp_path) as kit:
        waiting, over = [await kit.enqueue(URL, f"job_{number}") for number in range(2)]
        await kit.database.run(lambda c: _end(c, over))
        kit.now += 2 * DAY
        assert await kit.store.forget_before(START - 1) == 0
        assert await kit.store.forget_before(kit.now) == 1
        assert [one.id for one in (await kit.store.page("art", 9))[0]] == [waiting]


def _end(connection: sqlite3.Connection, delivery_id: str) -> None:
    connection.execute(
        "UPDATE webhook_deliveries SET state = ?, due = NULL WHERE id = ?", (DeliveryState.DELIVERED, delivery_id)
    )


async def test_a_full_disk_refuses_and_forgets_nothing(tmp_path: Path) -> None:
    async with webhook_kit(tmp_path) as kit:
        kept = await kit.enqueue(URL, "job_0")
        pages = await kit.database.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        await kit.database.run(lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchone())
        with pytest.raises(StorageFull):
            await kit.enqueue(URL, "full", words="w" * 100_000)
        assert (await kit.store.find("art", kept)).state is DeliveryState.PENDING
        await kit.database.run(lambda c: c.execute("PRAGMA max_page_count=1000000").fetchone())
        await kit.enqueue(URL, "job_1")


async def test_an_address_that_nobody_can_read_ends_no_job(tmp_path: Path) -> None:
    async with webhook_kit(tmp_path) as kit:
        sent = await kit.enqueue("http://[::1/hook", "job_1")
        async with kit.sending([]):
            await kit.quiet()
        assert (await kit.store.find("art", sent)).problem == "Not reached: it is not a valid address."
