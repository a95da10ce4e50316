"""A tenant's files take of one room, at whichever gateway they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from sdxl_gateway.config import Files
from sdxl_gateway.core.errors import BodyTooLarge
from sdxl_gateway.gateway.fleet.files import FleetFiles
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened as database_in
from sdxl_gateway.storage.file_table import Purpose, StoredFile
from sdxl_gateway.storage.files import NewFile
from tests.kit.redis_server import RedisServer
from tests.kit.sharing import Sharer

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
Two = tuple[FleetFiles, FleetFiles]
ROOM = 1000


@asynccontextmanager
async def opened(redis: RedisServer, folder: Path) -> AsyncIterator[FleetFiles]:
    async with Sharer.opened(redis, folder) as sharer:
        assert sharer.shared.files is not None
        with database_in(folder) as database:
            limits = Files(max_file_bytes=ROOM, max_tenant_bytes=ROOM)
            yield FleetFiles(database, BlobFolder(folder / "blobs"), limits, sharer.shared.files)


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(opened(redis, tmp_path / name)) for name in "ab"]
        yield a, b


async def put(store: FleetFiles, size: int, tenant: str = "art", *, capped: bool = True) -> StoredFile:
    return await store.add(tenant, NewFile("a", Purpose.BATCH), store.blobs.put(bytes(size)), size, capped=capped)


async def test_what_is_at_one_leaves_less_room_at_the_other(two: Two, tmp_path: Path) -> None:
    a, b = two
    file = await put(a, 700)
    assert (await a.room("art"), await b.room("art"), await b.room("ops")) == (300, 300, ROOM)
    with pytest.raises(BodyTooLarge, match="together") as refused:
        await put(b, 400)
    assert refused.value.code == "file_storage_exceeded"
    assert await b.export("art") == []
    assert list((tmp_path / "b" / "blobs").iterdir()) == []
    await put(b, 300)
    await a.delete(file.id, "art")
    assert [await one.room("art") for one in two] == [700, 700]
    await b.erase("art")
    assert [await one.room("art") for one in two] == [ROOM, ROOM]


async def test_of_two_at_once_that_fit_alone_one_is_taken(two: Two) -> None:
    a, b = two
    taken = await asyncio.gather(put(a, 600), put(b, 600), return_exceptions=True)
    assert [type(one) for one in taken if isinstance(one, BaseException)] == [BodyTooLarge]
    assert [await one.room("art") for one in two] == [400, 400]


async def test_what_batches_write_counts_and_is_never_refused(two: Two) -> None:
    a, b = two
    await put(a, 700)
    await put(b, 700, capped=False)
    assert [await one.room("art") for one in two] == [0, 0]


async def test_without_redis_each_counts_its_own_and_tells_it_later(
    two: Two, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)
    a, b = two
    await put(a, 700)
    redis.stop()
    await put(b, 400)
    assert [await one.room("art") for one in two] == [300, 600]
    redis.start()
    for one in two:
        await one.share()
    assert [await one.room("art") for one in two] == [0, 0]
    assert all(int(redis.cli("PTTL", name)) > 0 for name in redis.cli("KEYS", "*files-held*").splitlines())


async def test_what_ended_by_itself_makes_room_everywhere(two: Two) -> None:
    a, b = two
    await put(a, 700)
    await a.share()
    assert await a.forget_before(1e12) == 1
    assert await b.room("art") == 300
    await a.share()
    assert await b.room("art") == ROOM
