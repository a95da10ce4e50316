"""Replies are kept for a while, as many as there is room for, each under its tenant's key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sdxl_gateway.config import Idempotency
from sdxl_gateway.core.errors import KeyInUse, KeyReused, StorageFull
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.idempotency import Alone, KeptReplies, KeptReply
from sdxl_gateway.storage.idempotency_table import Scope

ONE, OTHER = Scope("art", "images.generations", "k"), Scope("ops", "images.generations", "k")
MARK = b"fingerprint"


@dataclass
class Bench:
    folder: Path
    database: Database
    now: float = 1_000_000.0
    replies: KeptReplies = field(init=False)

    def __post_init__(self) -> None:
        blobs = BlobFolder(self.folder / "replies", clock=lambda: self.now)
        settings = Idempotency(keep_seconds=100, max_stored_bytes=100)
        self.replies = KeptReplies(self.database, blobs, settings, Alone(), clock=lambda: self.now)

    async def keep(self, scope: Scope, body: bytes) -> None:
        await self.replies.keep(scope, MARK, KeptReply(200, {"content-type": "application/json"}, body))

    async def body(self, scope: Scope) -> bytes | None:
        found = await self.replies.find(scope, MARK)
        return None if found is None else found.body

    @property
    def files(self) -> int:
        return len(list((self.folder / "replies").glob("*")))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as database:
        yield Bench(tmp_path, database)


async def test_a_reply_is_found_for_its_time(bench: Bench) -> None:
    await bench.keep(ONE, b"picture")
    found = await bench.replies.find(ONE, MARK)
    assert found == KeptReply(200, {"content-type": "application/json"}, b"picture")
    assert await bench.body(OTHER) is None
    with pytest.raises(KeyReused):
        await bench.replies.find(ONE, b"another")
    bench.now += 101
    assert await bench.body(ONE) is None
    assert await bench.replies.find(ONE, b"another") is None


async def test_the_oldest_make_room(bench: Bench) -> None:
    for place in range(30):
        bench.now += 1
        await bench.keep(Scope("art", "r", str(place)), b"x" * 24)
    kept = [place for place in range(30) if await bench.body(Scope("art", "r", str(place))) is not None]
    assert kept == [26, 27, 28, 29]
    assert bench.files == 4


async def test_what_is_larger_than_all_there_is_room_for_is_not_kept(bench: Bench) -> None:
    await bench.keep(ONE, b"small")
    await bench.keep(OTHER, b"x" * 101)
    assert (await bench.body(ONE), await bench.body(OTHER), bench.files) == (b"small", None, 1)


async def test_a_new_reply_takes_the_place_of_one_that_is_over(bench: Bench) -> None:
    await bench.keep(ONE, b"old")
    bench.now += 101
    await bench.keep(ONE, b"new")
    assert (await bench.body(ONE), bench.files) == (b"new", 1)


async def test_one_at_a_time(bench: Bench) -> None:
    await bench.replies.claim(ONE, MARK)
    await bench.replies.claim(OTHER, MARK)
    with pytest.raises(KeyInUse):
        await bench.replies.claim(ONE, bytes(bytearray(MARK)))
    with pytest.raises(KeyReused):
        await bench.replies.claim(ONE, b"another")
    bench.replies.release(ONE)
    await bench.replies.claim(ONE, b"another")


async def test_a_tenants_replies_can_be_told_and_erased(bench: Bench) -> None:
    await bench.keep(ONE, b"picture")
    await bench.keep(OTHER, b"picture")
    assert [row["key"] for row in await bench.replies.export("art")] == ["k"]
    assert await bench.replies.erase("art") == 1
    assert (await bench.body(ONE), await bench.body(OTHER), bench.files) == (None, b"picture", 1)
    assert await bench.replies.forget_before(bench.now + 1) == 1
    assert bench.files == 0


async def test_a_body_that_is_gone_is_no_reply(bench: Bench) -> None:
    await bench.keep(ONE, b"picture")
    for path in (bench.folder / "replies").iterdir():
        path.unlink()
    assert await bench.body(ONE) is None


async def test_a_full_database_leaves_no_blob(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(work: object) -> None:
        raise StorageFull("full")

    monkeypatch.setattr(bench.database, "run", full)
    with pytest.raises(StorageFull):
        await bench.keep(ONE, b"picture")
    assert bench.files == 0
