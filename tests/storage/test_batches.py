"""Batches are each tenant's own; the answer to a line is kept once, and a batch ends with its files or not at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_gateway.config import Files
from sdxl_gateway.core.batch import Batch, BatchState, LineError
from sdxl_gateway.core.errors import Busy, InvalidRequest, NotFound, StorageFull
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.file_table import Purpose
from sdxl_gateway.storage.files import FileStore, NewFile
from sdxl_gateway.storage.pages import Cut

ANSWER = b'{"custom_id": "a"}\n'


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def files(database: Database, tmp_path: Path) -> FileStore:
    return FileStore(database, BlobFolder(tmp_path / "files"), Files())


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def store(database: Database, tmp_path: Path, ended: list[str]) -> BatchStore:
    def on_end(_: object, batch: Batch) -> None:
        ended.append(f"{batch.id} {batch.state}")

    return BatchStore(database, BlobFolder(tmp_path / "blobs"), on_end=[on_end], clock=lambda: 50.0)


def batch(name: str = "batch_1", tenant: str = "art", created: float = 1.0) -> Batch:
    return Batch(name, tenant, "{}", "/v1/images/edits", "file-1", "http://gw", created, 99.0, 3600.0, {"a": "b"})


def begun(batch: Batch) -> Batch:
    return replace(batch.come_to(BatchState.IN_PROGRESS, 5.0), total=3, model="demo")


def blobs(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "blobs").iterdir()]


async def test_what_was_added_is_found_by_its_tenant(store: BatchStore) -> None:
    await store.add(batch(), 9)
    assert await store.find("batch_1") == await store.find("batch_1", "art") == batch()
    with pytest.raises(NotFound, match="No batch found with id 'batch_1'"):
        await store.find("batch_1", "ops")


async def test_a_tenant_has_so_many_at_a_time(store: BatchStore) -> None:
    for name in ("batch_1", "batch_2"):
        await store.add(batch(name), 2)
    with pytest.raises(Busy) as refused:
        await store.add(batch("batch_3"), 2)
    assert refused.value.code == "too_many_batches"
    await store.add(batch("batch_3", "ops"), 2)
    await store.finish("batch_1", BatchState.FAILED, (), lambda one: one)
    await store.add(batch("batch_4"), 2)
    assert [one.id for one in await store.unfinished()] == ["batch_2", "batch_3", "batch_4"]


async def test_a_change_is_remembered_until_it_is_over(store: BatchStore, ended: list[str]) -> None:
    await store.add(batch(), 9)
    assert (await store.change("batch_1", begun)).times == {"in_progress": 5.0}
    errors = (LineError("invalid_json", "no", 3), LineError("empty_file", "none"))
    await store.finish("batch_1", BatchState.FAILED, (), lambda one: replace(one, errors=errors))
    now = await store.find("batch_1")
    assert (now.state, now.errors, now.times) == (BatchState.FAILED, errors, {"in_progress": 5.0, "failed": 50.0})
    assert await store.change("batch_1", begun) == now
    with pytest.raises(NotFound):
        await store.finish("batch_1", BatchState.COMPLETED, (), begun)
    assert ended == ["batch_1 failed"]


async def test_a_line_is_answered_once(store: BatchStore, tmp_path: Path) -> None:
    await store.add(batch(), 9)
    await store.change("batch_1", begun)
    await store.answer("batch_1", 2, "b", ANSWER, failed=True)
    for data in (ANSWER, b"another"):
        await store.answer("batch_1", 1, "a", data, failed=False)
    answers = await store.answers("batch_1")
    assert [(one.line, one.custom_id, one.failed, one.bytes) for one in answers] == [
        (1, "a", False, len(ANSWER)),
        (2, "b", True, len(ANSWER)),
    ]
    assert list(store.read(answers)) == [ANSWER, ANSWER]
    now = await store.find("batch_1")
    assert (now.completed, now.failed, now.output_bytes, len(blobs(tmp_path))) == (1, 1, 2 * len(ANSWER), 2)


async def test_it_ends_with_its_files_and_without_its_lines(
    store: BatchStore, files: FileStore, tmp_path: Path
) -> None:
    await store.add(batch(), 9)
    lines = store.blobs.put(b"{}\n")
    await store.change("batch_1", lambda one: replace(begun(one), lines=lines))
    await store.answer("batch_1", 1, "a", ANSWER, failed=False)
    file = files.made("art", NewFile("out", Purpose.BATCH_OUTPUT, 60), files.blobs.put(ANSWER), len(ANSWER))
    await store.finish("batch_1", BatchState.COMPLETED, (file, None), lambda one: one)
    now = await store.find("batch_1")
    assert (now.state, now.output_file, now.error_file, now.lines) == ("completed", file.id, None, None)
    assert b"".join(files.pieces(await files.find(file.id, "art"))) == ANSWER
    assert (blobs(tmp_path), await store.answers("batch_1")) == ([], [])


async def test_what_is_over_or_gone_is_answered_no_more(store: BatchStore, tmp_path: Path) -> None:
    await store.add(batch(), 9)
    await store.finish("batch_1", BatchState.CANCELLED, (), lambda one: one)
    for name in ("batch_1", "batch_2"):
        await store.answer(name, 1, "a", ANSWER, failed=False)
    assert blobs(tmp_path) == []


async def test_pages_are_the_tenants_newest_first(store: BatchStore) -> None:
    for place in range(5):
        await store.add(batch(f"batch_{place}", created=float(place)), 9)
    await store.add(batch("batch_x", "ops"), 9)
    page, more = await store.page("art", Cut(2))
    rest, none = await store.page("art", Cut(9, page[-1].id))
    assert [one.id for one in [*page, *rest]] == [f"batch_{place}" for place in (4, 3, 2, 1, 0)]
    everybodys, _ = await store.page(None, Cut(9))
    assert {one.tenant for one in everybodys} == {"art", "ops"}
    assert (more, none) == (True, False)
    with pytest.raises(InvalidRequest):
        await store.page("art", Cut(2, "batch_x"))


async def test_what_is_remembered_is_told_erased_and_forgotten(store: BatchStore, tmp_path: Path) -> None:
    for name, created in (("batch_1", 1.0), ("batch_2", 2.0), ("batch_3", 3.0)):
        await store.add(batch(name, created=created), 9)
    await store.add(batch("batch_x", "ops"), 9)
    await store.finish("batch_1", BatchState.EXPIRED, (), lambda one: one)
    await store.change("batch_2", lambda one: replace(one, lines=store.blobs.put(b"x")))
    await store.answer("batch_2", 1, "a", ANSWER, failed=False)
    assert [one["id"] for one in await store.export("art")] == ["batch_1", "batch_2", "batch_3"]
    assert await store.forget_before(3.0) == 1
    assert (await store.erase("art"), blobs(tmp_path), await store.answers("batch_2")) == (2, [], [])
    assert [one.id for one in await store.unfinished()] == ["batch_x"]


async def test_a_sweep_leaves_what_is_known(store: BatchStore, tmp_path: Path) -> None:
    await store.add(batch(), 9)
    await store.change("batch_1", lambda one: replace(one, lines=store.blobs.put(b"x")))
    await store.answer("batch_1", 1, "a", ANSWER, failed=False)
    lost = store.blobs.put(b"lost")
    await store.sweep()
    assert lost in blobs(tmp_path)
    old = BatchStore(store._database, BlobFolder(tmp_path / "blobs", lambda: 1e12))
    await old.sweep()
    assert len(blobs(tmp_path)) == 2
    assert lost not in blobs(tmp_path)


async def test_a_full_disk_is_told_keeps_nothing_and_gets_over(store: BatchStore, tmp_path: Path) -> None:
    await store.add(batch(), 9)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageFull):
            await store.answer("batch_1", 1, "a", bytes(200_000), failed=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (blobs(tmp_path), await store.answers("batch_1")) == ([], [])
    await store.answer("batch_1", 1, "a", bytes(200_000), failed=False)
    assert len(await store.answers("batch_1")) == 1
