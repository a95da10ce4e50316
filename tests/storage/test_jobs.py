"""Stored jobs: taken up in their order, ended once, given back after a crash, forgotten in time."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import Busy, Gone, StorageFull
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.stored_job import Ending, JobState, Place, StoredJob
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import WAL_BYTES, Database, opened
from sdxl_gateway.storage.job_table import Filter, Live
from sdxl_gateway.storage.jobs import MOST_ATTEMPTS, JobStore
from sdxl_gateway.storage.sealed import AesSeal
from tests.kit.disks import full_disk

DONE = Ending(JobState.COMPLETED, result="{}")
DEAD = Ending(JobState.FAILED, error="{}")
MANY = 1000
_numbers = count()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(database: Database, blobs: Path) -> JobStore:
    return JobStore(database, BlobFolder(blobs))


def job(tenant: str = "a", priority: Priority = Priority.NORMAL, **more: Any) -> StoredJob:
    return replace(
        StoredJob(f"job_{next(_numbers):05}", tenant, "{}", Operation.GENERATE, "demo", priority, "{}", 1000.0), **more
    )


async def added(store: JobStore, *jobs: StoredJob) -> list[str]:
    for one in jobs:
        await store.add(one, MANY)
    return [one.id for one in jobs]


async def claimed(store: JobStore, live: list[Live] | None = None, most: int = 2) -> list[str]:
    return [one.id for one in await store.claim(live or [], most)]


async def test_what_was_added_is_found(store: JobStore) -> None:
    (one,) = await added(store, job(batch="batch_1", custom_id="line 1", webhook_url="https://example.com"))
    found = await store.find(one)
    assert found is not None
    assert (found.batch, found.custom_id, found.webhook_url) == ("batch_1", "line 1", "https://example.com")
    assert (found.state, found.attempts, found.number) == (JobState.QUEUED, 0, 1)
    assert await store.find("job_x") is None


async def test_first_come_first_taken_up(store: JobStore) -> None:
    ids = await added(store, *(job() for _ in range(4)))
    assert await claimed(store) == ids[:2]
    assert await claimed(store, [Live("a", Priority.NORMAL)]) == ids[2:3]


async def test_higher_classes_first_and_never_kept_out(store: JobStore) -> None:
    low, normal, high = await added(store, job(priority=Priority.LOW), job(), job(priority=Priority.HIGH))
    assert await claimed(store, [Live("a", Priority.LOW)] * 2) == [high, normal]
    assert await claimed(store, most=3) == [low]


async def test_tenants_take_turns(store: JobStore) -> None:
    ids = await added(store, *(job("a") for _ in range(5)), job("b"))
    assert await claimed(store, most=3) == [ids[0], ids[5], ids[1]]
    assert await claimed(store, [Live("a", Priority.NORMAL)], 2) == [ids[2]]


async def test_how_many_stand_before_it(store: JobStore) -> None:
    ids = await added(store, job(), job(), job(priority=Priority.LOW), job(priority=Priority.HIGH))
    found = [await store.find(one) for one in ids]
    assert [await store.ahead(one) for one in found if one is not None] == [1, 2, 3, 0]


async def test_it_ends_once(database: Database, blobs: Path) -> None:
    told: list[str] = []
    store = JobStore(database, BlobFolder(blobs), on_end=[lambda _, ended: told.append(ended.id)])
    (one,) = await added(store, job())
    await claimed(store)
    ended = await store.end(one, DONE, started=7.0)
    assert ended is not None
    assert (ended.state, ended.started) == (JobState.COMPLETED, 7.0)
    assert await store.end(one, DEAD) is None
    assert await store.find(one) == replace(ended, uploads=None)
    assert told == [one]


async def test_what_is_written_with_the_end_is_written_whole_or_not_at_all(database: Database, tmp_path: Path) -> None:
    def no(connection: sqlite3.Connection, ended: StoredJob) -> None:
        raise ValueError("no")

    store = JobStore(database, BlobFolder(tmp_path), on_end=[no])
    (one,) = await added(store, job())
    with pytest.raises(ValueError, match="no"):
        await store.end(one, DONE)
    found = await store.find(one)
    assert found is not None
    assert found.state is JobState.QUEUED


async def test_what_a_crash_left_is_taken_up_again_in_its_place(store: JobStore) -> None:
    ids = await added(store, job(), job())
    await claimed(store, most=1)
    assert await store.recover(DEAD) == 1
    assert await claimed(store) == ids
    found = [await store.find(one) for one in ids]
    assert [one.attempts for one in found if one is not None] == [2, 1]


async def test_a_suspect_is_taken_up_alone_and_after_three_crashes_no_more(store: JobStore) -> None:
    poison, innocent = await added(store, job(), job())
    for _ in range(2):
        assert await claimed(store) == [poison, innocent]
        await store.give_back(innocent, counted=False)
        await store.recover(DEAD)
    assert await claimed(store, [Live("b", Priority.NORMAL)], 9) == []
    assert await claimed(store, most=9) == [poison]
    await store.recover(DEAD)
    found = await store.find(poison)
    assert found is not None
    assert (found.state, found.attempts) == (JobState.FAILED, MOST_ATTEMPTS)
    assert await claimed(store) == [innocent]


async def test_given_back_uncounted_it_was_never_taken_up(store: JobStore) -> None:
    (one,) = await added(store, job())
    await claimed(store)
    await store.give_back(one, counted=False)
    found = await store.find(one)
    assert found is not None
    assert (found.state, found.attempts) == (JobState.QUEUED, 0)
    await store.end(one, DONE)
    await store.give_back(one, counted=True)
    assert await claimed(store) == []


async def test_a_tenant_may_have_so_many_and_another_as_well(store: JobStore) -> None:
    ids = await added(store, job(), job())
    with pytest.raises(Busy) as refused:
        await store.add(job(), 2)
    assert (refused.value.code, refused.value.retry_after_seconds) == ("too_many_jobs", 120)
    await store.add(job("b"), 2)
    await store.end(ids[0], DONE)
    await store.add(job(), 2)


async def test_uploads_stay_as_long_as_they_are_needed(store: JobStore) -> None:
    blob = await store.keep_uploads(b"picture")
    (one,) = await added(store, replace(job(), uploads=blob))
    found = await store.find(one)
    assert found is not None
    assert await store.uploads_of(found) == b"picture"
    await store.end(one, DONE)
    with pytest.raises(Gone):
        await store.uploads_of(found)
    assert await store.keep_uploads(b"") is None


async def test_a_job_that_was_not_accepted_leaves_no_upload(store: JobStore, tmp_path: Path) -> None:
    await added(store, job())
    blob = await store.keep_uploads(b"picture")
    with pytest.raises(Busy):
        await store.add(replace(job(), uploads=blob), 1)
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_ten_thousand_jobs_page_by_page(store: JobStore, database: Database) -> None:
    many = [(f"j{n}", "a" if n % 2 else "b", n) for n in range(10_000)]
    columns = "id, tenant, caller, operation, model, priority, ask, created, state, attempts"
    insert = f"INSERT INTO jobs ({columns}) VALUES (?, ?, '{{}}', 'generate', '', 1, '{{}}', ?, 'queued', 0)"
    await database.run(lambda connection: connection.executemany(insert, many))
    seen, peaks = list[str](), list[int]()
    before: Place | None = None
    tracemalloc.start()
    while page := await store.page(Filter("a"), 100, before):
        seen += [one.id for one in page]
        before = page[-1].place
        assert len(page) == 100
        peaks.append(tracemalloc.get_traced_memory()[1] - tracemalloc.get_traced_memory()[0])
        tracemalloc.reset_peak()
    tracemalloc.stop()
    assert seen == [f"j{n}" for n in reversed(range(10_000)) if n % 2]
    assert max(peaks) < 2**20


async def test_lists_by_state_and_batch(store: JobStore) -> None:
    ids = await added(store, job(), job(batch="x"), job("b", batch="x"))
    await store.end(ids[0], DONE)
    assert [one.id for one in await store.page(Filter(state=JobState.COMPLETED), 9)] == ids[:1]
    assert [one.id for one in await store.page(Filter(batch="x"), 9)] == [ids[2], ids[1]]


async def test_old_ones_are_forgotten(database: Database, blobs: Path) -> None:
    now = [100.0]
    store = JobStore(database, BlobFolder(blobs), clock=lambda: now[0])
    ids = await added(store, job(), job(), job())
    await store.end(ids[0], DONE)
    now[0] = 200.0
    await store.end(ids[1], DONE)
    assert await store.forget_before(200.0) == 1
    assert [one.id for one in await store.page(Filter(), 9)] == [ids[2], ids[1]]


async def test_a_tenants_jobs_are_exported_and_erased(store: JobStore, tmp_path: Path) -> None:
    blob = await store.keep_uploads(b"picture")
    mine, other = await added(store, replace(job("a"), uploads=blob), job("b"))
    assert [one["id"] for one in await store.export("a")] == [mine]
    assert await store.erase("a") == 1
    assert [one.id for one in await store.page(Filter(), 9)] == [other]
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_a_full_disk_refuses_and_takes_again_when_there_is_room(store: JobStore, database: Database) -> None:
    (before,) = await added(store, job())
    async with full_disk(database):
        with pytest.raises(StorageFull):
            await added(store, *(replace(job(), ask="x" * 100_000) for _ in range(50)))
    (after,) = await added(store, job())
    kept = [one.id for one in await store.page(Filter(), MANY)]
    assert (kept[0], kept[-1]) == (after, before)


async def test_the_log_of_writes_stays_small(store: JobStore, tmp_path: Path) -> None:
    for _ in range(40):
        (one,) = await added(store, replace(job(), ask="x" * 1_000_000))
        await store.end(one, DONE)
    assert (tmp_path / "gateway.sqlite3").stat().st_size > 2 * WAL_BYTES
    assert (tmp_path / "gateway.sqlite3-wal").stat().st_size <= WAL_BYTES


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_where_there_is_a_seal_nothing_can_be_read_on_the_disk(database: Database, tmp_path: Path) -> None:
    store = JobStore(database, BlobFolder(tmp_path / "blobs"), AesSeal([b"k" * 32]))
    blob = await store.keep_uploads(b"my picture")
    (one,) = await added(store, replace(job(), ask='"my prompt"', uploads=blob))
    (taken,) = await store.claim([], 1)
    assert (taken.ask, await store.uploads_of(taken)) == ('"my prompt"', b"my picture")
    written = on_disk(tmp_path)
    ended = await store.end(one, Ending(JobState.COMPLETED, result='"my result"'))
    written += on_disk(tmp_path)
    assert not any(word in written for word in (b"my prompt", b"my picture", b"my result"))
    assert ended is not None
    assert ended.result == '"my result"'
    assert await store.find(one) == replace(ended, uploads=None)
