"""Files are each tenant's own, streamed to the disk, counted, and gone when their time is over."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sdxl_gateway.config import Files
from sdxl_gateway.core.errors import BodyTooLarge, Gone, InvalidRequest, NotFound, StorageFull
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.file_table import Purpose, StoredFile
from sdxl_gateway.storage.files import FileStore, NewFile
from sdxl_gateway.storage.pages import Cut
from tests.kit.clock import Clock

LIMITS = Files(max_file_bytes=1000, max_tenant_bytes=2500)
NOTES = NewFile("notes.jsonl", Purpose.BATCH)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def store(database: Database, tmp_path: Path, clock: Clock) -> FileStore:
    return FileStore(database, BlobFolder(tmp_path / "blobs", clock), LIMITS, clock)


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one


async def put(store: FileStore, tenant: str, *data: bytes, new: NewFile = NOTES) -> StoredFile:
    return await store.receive(tenant, chunks(*data), lambda size, head: new)


def blobs(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "blobs").iterdir()]


async def test_what_was_sent_is_read_by_its_tenant_alone(store: FileStore) -> None:
    file = await put(store, "art", b"a" * 10, b"b" * 10)
    assert await store.find(file.id, "art") == file
    assert (b"".join(store.pieces(file)), file.bytes, file.name) == (b"a" * 10 + b"b" * 10, 20, "notes.jsonl")
    for ask in (store.find, store.delete):
        with pytest.raises(NotFound, match=f"No such File object: {file.id}"):
            await ask(file.id, "ops")
    assert await store.find(file.id, "art") == file


async def test_who_describes_it_sees_its_length_and_its_first_bytes(store: FileStore) -> None:
    seen: list[tuple[int, bytes]] = []

    def describe(size: int, head: bytes) -> NewFile:
        seen.append((size, head))
        return NOTES

    await store.receive("art", chunks(b"", b"abc", b"d" * 30), describe)
    assert seen == [(33, b"abc" + b"d" * 13)]


async def test_one_that_is_refused_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    def refuse(size: int, head: bytes) -> NewFile:
        raise InvalidRequest("no", param="purpose")

    with pytest.raises(InvalidRequest):
        await store.receive("art", chunks(b"abc"), refuse)
    with pytest.raises(BodyTooLarge, match="at most 1000 bytes"):
        await put(store, "art", b"a" * 600, b"a" * 600)
    assert (blobs(tmp_path), await store.room("art")) == ([], 2500)


async def test_a_tenant_holds_so_much_and_deleting_makes_room(store: FileStore, tmp_path: Path) -> None:
    kept = [await put(store, "art", bytes(1000)) for _ in range(2)]
    with pytest.raises(BodyTooLarge, match="together") as refused:
        await put(store, "art", bytes(600))
    assert refused.value.code == "file_storage_exceeded"
    await put(store, "ops", bytes(1000))
    await store.delete(kept[0].id, "art")
    assert (await store.room("art"), len(blobs(tmp_path))) == (1500, 2)
    await put(store, "art", bytes(600))


async def test_two_that_come_at_once_do_not_pass_the_cap_together(store: FileStore, tmp_path: Path) -> None:
    await put(store, "art", bytes(1000))
    await put(store, "art", bytes(1000))
    blob = store.blobs.put(bytes(600))
    with pytest.raises(BodyTooLarge, match="together"):
        await store.add("art", NOTES, blob, 600, capped=True)
    assert len(blobs(tmp_path)) == 2
    assert (await store.add("art", NOTES, store.blobs.put(bytes(600)), 600)).bytes == 600


async def test_pages_hold_every_file_once_in_either_order(store: FileStore, clock: Clock) -> None:
    made = []
    for place in range(7):
        clock.now += place % 2  # some share a time
        made.append(await put(store, "art", b"x"))
    await put(store, "ops", b"x")
    for newest_first in (True, False):
        found: list[StoredFile] = []
        more, pages = True, 0
        while more:
            page, more = await store.page("art", Cut(3, found[-1].id if found else None, newest_first))
            found, pages = found + page, pages + 1
        key = [(file.created, file.id) for file in found]
        assert (key, pages) == (sorted(key, reverse=newest_first), 3)
        assert {file.id for file in found} == {file.id for file in made}
    assert await store.page("art", Cut(3), purpose="vision") == ([], False)
    with pytest.raises(InvalidRequest) as refused:
        await store.page("ops", Cut(3, made[0].id))
    assert refused.value.param == "after"


async def test_its_time_over_a_file_is_as_none_then_gone(store: FileStore, clock: Clock, tmp_path: Path) -> None:
    short = await put(store, "art", b"x", new=NewFile("a", Purpose.VISION, 60))
    lasting = await put(store, "art", b"y")
    clock.now += 59
    assert (await store.find(short.id, "art")).expires == clock.now + 1
    clock.now += 1
    with pytest.raises(NotFound):
        await store.find(short.id, "art")
    assert await store.page("art", Cut(9)) == ([lasting], False)
    assert (await store.sweep(), await store.sweep(), blobs(tmp_path)) == (1, 0, [lasting.blob])


async def test_one_deleted_while_it_is_read_is_gone(store: FileStore) -> None:
    file = await put(store, "art", b"x")
    await store.delete(file.id, "art")
    with pytest.raises(Gone):
        store.pieces(file)


async def test_what_is_remembered_of_a_tenant_is_told_and_erased(store: FileStore, tmp_path: Path) -> None:
    mine, theirs = await put(store, "art", b"x"), await put(store, "ops", b"y")
    assert await store.export("art") == [
        {"id": mine.id, "name": "notes.jsonl", "purpose": "batch", "bytes": 1, "created": mine.created}
    ]
    assert (await store.erase("art"), await store.erase("art"), await store.export("art")) == (1, 0, [])
    assert blobs(tmp_path) == [theirs.blob]


async def test_what_is_older_is_forgotten(store: FileStore, clock: Clock, tmp_path: Path) -> None:
    await put(store, "art", b"x")
    clock.now += 10
    young = await put(store, "ops", b"y")
    assert (await store.forget_before(clock.now), blobs(tmp_path)) == (1, [young.blob])


async def test_a_full_disk_is_told_keeps_nothing_and_gets_over(store: FileStore, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    store.limits = Files(max_file_bytes=10**6, max_tenant_bytes=10**6)
    kept = await put(store, "art", b"kept")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageFull):
            await put(store, "art", bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (blobs(tmp_path), await store.page("art", Cut(9))) == ([kept.blob], ([kept], False))
    assert (await put(store, "art", bytes(200_000))).bytes == 200_000


async def test_a_database_that_takes_no_row_leaves_no_blob(
    store: FileStore, database: Database, tmp_path: Path
) -> None:
    kept = await put(store, "art", b"kept")
    pages = (await database.run(lambda c: c.execute("PRAGMA page_count").fetchone()))[0]
    await database.run(lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchall())
    with pytest.raises(StorageFull):
        await put(store, "art", b"x", new=NewFile("n" * 100_000, Purpose.BATCH))
    await database.run(lambda c: c.execute("PRAGMA max_page_count=100000").fetchall())
    assert blobs(tmp_path) == [kept.blob]
    await put(store, "art", b"x", new=NewFile("n" * 100_000, Purpose.BATCH))
