"""Pictures are kept whole, each for its tenant, found by an id nobody guesses, and gone when their time is over."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from sdxl_gateway.config import Delivery
from sdxl_gateway.core.errors import InvalidRequest, NotFound, StorageFull
from sdxl_gateway.core.files import write_whole
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.images import KeptImages
from sdxl_gateway.storage.picture_folder import PictureFolder


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path, database: Database, clock: Clock) -> KeptImages:
    return store_at(tmp_path, database, clock)


def store_at(folder: Path, database: Database, clock: Clock, cap_bytes: int = 0) -> KeptImages:
    delivery = Delivery(keep_seconds=60, max_stored_bytes=cap_bytes)
    return KeptImages(PictureFolder(folder / "images"), database, delivery, clock)


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "images").iterdir()}


async def put(store: KeptImages, *, tenant: str = "art", size: int = 10) -> StoredImage:
    return await store.put(bytes(size), "png", tenant=tenant)


async def is_kept(store: KeptImages, stored: StoredImage) -> bool:
    try:
        return await store.find(stored.id) == stored
    except NotFound:
        return False


async def test_what_is_put_is_found(tmp_path: Path, store: KeptImages, clock: Clock) -> None:
    others = [await put(store) for _ in range(20)]
    stored = await store.put(b"mine", "webp", tenant="ops")
    assert len({one.id for one in others}) == 20
    assert all(len(one.id) == 32 for one in others)
    assert (await store.find(stored.id), await store.read(stored)) == (stored, b"mine")
    assert (stored.tenant, stored.size_bytes, stored.expires - stored.created) == ("ops", 4, 60)
    assert files(tmp_path) == {one.file_name for one in (*others, stored)}
    assert await store.total_bytes() == 204


async def test_what_is_unknown_and_what_has_expired_is_not_there(
    tmp_path: Path, store: KeptImages, clock: Clock
) -> None:
    stored = await put(store)
    with pytest.raises(NotFound, match="No such image"):
        await store.find("0" * 32)
    clock.now += 60
    later = await put(store)
    with pytest.raises(NotFound, match="No such image"):
        await store.find(stored.id)
    assert (await store.sweep(), await store.sweep(), await store.total_bytes()) == (1, 0, 10)
    assert files(tmp_path) == {later.file_name}


async def test_a_picture_that_went_while_it_is_fetched_is_not_there(tmp_path: Path, store: KeptImages) -> None:
    stored = await put(store)
    (tmp_path / "images" / stored.file_name).unlink()
    with pytest.raises(NotFound):
        await store.read(stored)


async def test_pages_are_a_tenants_own_the_newest_first(store: KeptImages) -> None:
    mine = []
    for _ in range(5):
        mine.append(await put(store))
        await put(store, tenant="ops")
    newest = mine[::-1]
    assert await store.page("art", 2) == (newest[:2], True)
    assert await store.page("art", 2, newest[1].id) == (newest[2:4], True)
    assert await store.page("art", 1, newest[3].id) == (newest[4:], False)
    assert await store.page("art", 9, newest[4].id) == ([], False)
    assert await store.page("nobody", 9) == ([], False)
    for unknown in ("0" * 32, (await store.page("ops", 1))[0][0].id):
        with pytest.raises(InvalidRequest, match="nothing of the id"):
            await store.page("art", 2, unknown)


async def test_only_its_tenant_deletes_a_picture(tmp_path: Path, store: KeptImages) -> None:
    stored = await put(store)
    with pytest.raises(NotFound, match="No such image"):
        await store.delete(stored.id, "ops")
    assert await is_kept(store, stored)
    await store.delete(stored.id, "art")
    assert (await is_kept(store, stored), files(tmp_path), await store.total_bytes()) == (False, set(), 0)
    with pytest.raises(NotFound, match="No such image"):
        await store.delete(stored.id, "art")


async def test_a_restart_remembers(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path) as database:
        stored = await store_at(tmp_path, database, clock).put(b"kept", "jpeg", tenant="art")
    with opened(tmp_path) as database:
        again = store_at(tmp_path, database, clock)
        assert (await again.find(stored.id), await again.read(stored)) == (stored, b"kept")
        assert await again.total_bytes() == 4
        clock.now += 61
        assert await again.sweep() == 1


async def test_what_a_killed_server_left_behind_goes(tmp_path: Path, store: KeptImages, clock: Clock) -> None:
    kept = await put(store)
    left = [f"{'0' * 32}.png", f"{'1' * 32}.1999999999.png", ".incoming-a.partial", f"{kept.id}.webp"]
    being_written = f"{'2' * 32}.png"
    for name in [*left, being_written, "notes.txt"]:
        (tmp_path / "images" / name).write_bytes(b"x")
        os.utime(tmp_path / "images" / name, (clock.now - 601, clock.now - 601))
    os.utime(tmp_path / "images" / being_written, (clock.now, clock.now))
    os.utime(tmp_path / "images" / kept.file_name, (clock.now - 601, clock.now - 601))
    assert await store.sweep_leftovers() == 4
    assert files(tmp_path) == {kept.file_name, being_written, "notes.txt"}
    assert await store.sweep_leftovers() == 0


async def test_above_the_cap_the_oldest_go(tmp_path: Path, database: Database, clock: Clock) -> None:
    store = store_at(tmp_path, database, clock, cap_bytes=25)
    first, second, third = [await put(store) for _ in range(3)]
    assert [await is_kept(store, one) for one in (first, second, third)] == [False, True, True]
    large = await put(store, size=100)
    assert (files(tmp_path), await store.total_bytes()) == ({large.file_name}, 100)


async def test_who_floods_the_folder_loses_his_own(tmp_path: Path, database: Database, clock: Clock) -> None:
    store = store_at(tmp_path, database, clock, cap_bytes=50)
    mine = [await put(store, tenant="quiet") for _ in range(2)]
    flood = [await put(store, tenant="loud") for _ in range(20)]
    assert [await is_kept(store, one) for one in mine] == [True, True]
    assert [await is_kept(store, one) for one in flood] == [False] * 17 + [True] * 3


async def test_a_tenants_data_is_told_and_erased(tmp_path: Path, store: KeptImages) -> None:
    mine, other = [await put(store) for _ in range(3)], await put(store, tenant="ops")
    told = await store.export("art")
    assert [one["id"] for one in told] == [one.id for one in mine]
    assert told[0] == {
        "id": mine[0].id,
        "file_name": mine[0].file_name,
        "bytes": 10,
        "created_at": int(mine[0].created),
        "expires_at": int(mine[0].expires),
    }
    assert (await store.erase("art"), await store.erase("art"), await store.export("art")) == (3, 0, [])
    assert files(tmp_path) == {other.file_name}


async def test_what_is_older_is_forgotten(store: KeptImages) -> None:
    first, second = await put(store), await put(store)
    assert (await store.forget_before(first.created), await store.forget_before(second.created)) == (0, 1)
    assert [await is_kept(store, one) for one in (first, second)] == [False, True]


async def test_a_disk_that_takes_half_a_picture_keeps_none_of_it(tmp_path: Path, store: KeptImages) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageFull):
            await put(store, size=200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (await store.page("art", 9), await store.total_bytes(), files(tmp_path)) == (([], False), 0, set())
    assert await is_kept(store, await put(store, size=200_000))


async def test_a_database_that_takes_no_row_leaves_no_file_and_goes_on(
    tmp_path: Path, database: Database, store: KeptImages
) -> None:
    pages = await database.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await database.run(lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").fetchone())
    given = await asyncio.gather(*(put(store, size=1) for _ in range(300)), return_exceptions=True)
    kept = [one for one in given if isinstance(one, StoredImage)]
    assert {type(one) for one in given} == {StoredImage, StorageFull}
    assert files(tmp_path) == {one.file_name for one in kept}
    assert await store.total_bytes() == len(kept)
    assert await store.erase("art") == len(kept)
    assert await is_kept(store, await put(store))


async def test_a_folder_that_takes_nothing_is_a_full_disk(tmp_path: Path, store: KeptImages) -> None:
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(StorageFull) as refused:
        await put(store)
    assert isinstance(refused.value.__cause__, FileNotFoundError)
    (tmp_path / "images").mkdir()
    assert await is_kept(store, await put(store))


@pytest.mark.parametrize("ext", ["gif", "../x", "", "png/../../x"])
async def test_only_known_extensions(store: KeptImages, ext: str) -> None:
    with pytest.raises(ValueError, match="no picture"):
        await store.put(b"x", ext, tenant="art")


async def test_many_at_once(tmp_path: Path, database: Database, clock: Clock) -> None:
    store = store_at(tmp_path, database, clock, cap_bytes=150)
    await asyncio.gather(*(put(store) for _ in range(60)))
    assert len(files(tmp_path)) == len((await store.page("art", 99))[0]) == await store.total_bytes() // 10 == 15


async def test_who_is_cancelled_leaves_no_file_without_its_row(
    tmp_path: Path, store: KeptImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def write(path: Path, chunks: Iterable[bytes]) -> None:
        loop.call_soon_threadsafe(began.set)
        write_whole(path, chunks)

    monkeypatch.setattr("sdxl_gateway.storage.picture_folder.write_whole", write)
    task = asyncio.create_task(put(store))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        while not (await store.page("art", 9))[0]:  # noqa: ASYNC110 - nobody says when the thread is done
            await asyncio.sleep(0.001)
    assert files(tmp_path) == {one.file_name for one in (await store.page("art", 9))[0]}


async def test_the_sweeper_sweeps_again_and_again(tmp_path: Path, database: Database, clock: Clock) -> None:
    store = store_at(tmp_path, database, clock)
    task = asyncio.create_task(store.sweeping(every_seconds=0.001))
    for _ in range(2):
        await put(store)
        clock.now += 61
        async with asyncio.timeout(20):
            while files(tmp_path):  # noqa: ASYNC110 - the sweeper tells nobody
                await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
