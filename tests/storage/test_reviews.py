"""What was flagged is kept until a person decides, and its owner may have it looked at once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from sdxl_gateway.core.errors import Gone, InvalidRequest, NotFound, StorageFull, WrongState
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.open_seal import open_seal
from sdxl_gateway.storage.pages import Cut
from sdxl_gateway.storage.review_table import ReviewState
from sdxl_gateway.storage.reviews import NewReview, ReviewStore
from sdxl_gateway.storage.seal import Seal

ALL = Cut(100, newest_first=False)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        Clock.now += 1
        return Clock.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


def store_in(database: Database, folder: Path, *, most: int = 100, seal: Seal | None = None) -> ReviewStore:
    seal = seal or Seal()
    return ReviewStore(database, seal.over(BlobFolder(folder / "reviews")), seal, most=most, clock=Clock())


@pytest.fixture
def store(database: Database, tmp_path: Path) -> ReviewStore:
    return store_in(database, tmp_path)


def new(tenant: str = "art", data: bytes = b"picture") -> NewReview:
    return NewReview(tenant, "key_1", "job-1", ("sexual",), "a prompt", data, "png", "f" * 32)


def blobs(folder: Path) -> int:
    return len(list((folder / "reviews").glob("*")))


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def many(store: ReviewStore) -> None:
    for _ in range(200):
        await store.add(NewReview("art", "", "job", (), "p" * 2000, b"x", "png"))


async def test_what_is_added_is_found_with_its_picture(store: ReviewStore) -> None:
    found = await store.find(await store.add(new()))
    assert (found.tenant, found.key_id, found.job, found.prompt) == ("art", "key_1", "job-1", "a prompt")
    assert (found.categories, found.image) == (("sexual",), "f" * 32)
    assert (found.state, found.decided) == (ReviewState.OPEN, None)
    assert await store.picture(found) == b"picture"


async def test_another_tenants_is_as_none(store: ReviewStore) -> None:
    review = await store.add(new())
    said = set()
    for wanted in (review, "rev_none"):
        with pytest.raises(NotFound) as refused:
            await store.find(wanted, "other")
        said.add(refused.value.message.replace(wanted, "X"))
    with pytest.raises(NotFound):
        await store.appeal(review, "other", "please")
    assert len(said) == 1


async def test_a_decision_stands_until_one_appeal(store: ReviewStore) -> None:
    review = await store.add(new())
    with pytest.raises(WrongState, match="undecided"):
        await store.appeal(review, "art", "too early")
    rejected = await store.decide(review, approve=False, note="no")
    assert (rejected.state, rejected.note, rejected.decided is not None) == (ReviewState.REJECTED, "no", True)
    with pytest.raises(WrongState, match="rejected already"):
        await store.decide(review, approve=True)
    appealed = await store.appeal(review, "art", "it is a statue")
    assert (appealed.state, appealed.appeal) == (ReviewState.APPEALED, "it is a statue")
    with pytest.raises(WrongState):
        await store.appeal(review, "art", "again")
    await store.decide(review, approve=False, note="still no")
    with pytest.raises(WrongState, match="not to be appealed"):
        await store.appeal(review, "art", "and again")


async def test_an_approved_one_is_over(store: ReviewStore) -> None:
    review = await store.add(new())
    assert (await store.decide(review, approve=True)).state is ReviewState.APPROVED
    with pytest.raises(WrongState):
        await store.appeal(review, "art", "why")
    with pytest.raises(NotFound):
        await store.decide("rev_none", approve=True)


async def test_pages_by_state_and_tenant(store: ReviewStore) -> None:
    ids = [await store.add(new("art" if place % 2 else "ads")) for place in range(5)]
    await store.decide(ids[1], approve=True)
    page, more = await store.page(Cut(2, newest_first=False))
    assert ([one.id for one in page], more) == (ids[:2], True)
    page, more = await store.page(Cut(10, ids[1], newest_first=False))
    assert ([one.id for one in page], more) == (ids[2:], False)
    assert [one.id for one in (await store.page(ALL, "art"))[0]] == [ids[1], ids[3]]
    assert [one.id for one in (await store.page(ALL, "art", ReviewState.OPEN))[0]] == [ids[3]]
    with pytest.raises(InvalidRequest):
        await store.page(Cut(2, ids[0]), "art")


async def test_above_the_most_decided_ones_go_first(database: Database, tmp_path: Path) -> None:
    store = store_in(database, tmp_path, most=3)
    ids = [await store.add(new()) for _ in range(3)]
    await store.decide(ids[1], approve=True)
    ids += [await store.add(new()) for _ in range(2)]
    assert [one.id for one in (await store.page(ALL))[0]] == [ids[2], ids[3], ids[4]]
    assert blobs(tmp_path) == 3


async def test_export_erase_and_forget(store: ReviewStore, tmp_path: Path) -> None:
    first, *_ = [await store.add(new(tenant)) for tenant in ("art", "ads", "art")]
    review = await store.find(first)
    (told, _) = await store.export("art")
    assert (told["id"], told["prompt"], told["state"]) == (first, "a prompt", "open")
    assert (await store.erase("art"), await store.export("art"), blobs(tmp_path)) == (2, [], 1)
    with pytest.raises(Gone):
        await store.picture(review)
    assert await store.forget_before(review.created + 100) == 1
    assert blobs(tmp_path) == 0


async def test_nothing_is_readable_where_it_is_sealed(database: Database, tmp_path: Path) -> None:
    seal = open_seal((SecretStr("A" * 43 + "="),), tmp_path)
    store = store_in(database, tmp_path, seal=seal)
    review = await store.add(new(data=b"very visible picture"))
    await store.decide(review, approve=False)
    await store.appeal(review, "art", "my own words")
    raw = on_disk(tmp_path)
    for secret in (b"a prompt", b"visible picture", b"my own words"):
        assert secret not in raw
    found = await store.find(review)
    assert (found.prompt, found.appeal, await store.picture(found)) == (
        "a prompt",
        "my own words",
        b"very visible picture",
    )


async def test_a_full_disk_keeps_nothing_by_halves_and_service_resumes(store: ReviewStore, tmp_path: Path) -> None:
    (tmp_path / "reviews").write_text("in the way")
    with pytest.raises(StorageFull):
        await store.add(new())
    assert (await store.page(ALL))[0] == []
    (tmp_path / "reviews").unlink()
    assert (await store.find(await store.add(new()))).state is ReviewState.OPEN


async def test_a_database_that_takes_nothing_leaves_no_picture_behind(
    store: ReviewStore, database: Database, tmp_path: Path
) -> None:
    await store.add(new())
    await database.run(lambda connection: connection.execute("PRAGMA max_page_count=1").fetchone())
    with pytest.raises(StorageFull):
        await many(store)
    count = len((await store.page(Cut(1000)))[0])
    assert blobs(tmp_path) == count
    await database.run(lambda connection: connection.execute("PRAGMA max_page_count=100000").fetchone())
    await store.add(new())
