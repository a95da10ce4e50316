"""Pictures in a bucket tell by themselves whose they are and until when, so any server of the bucket finds them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sdxl_gateway.config import S3, Delivery
from sdxl_gateway.core.errors import NotFound, Unavailable
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.images import KeptImages

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.s3.addresses import SignedByBucket
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.pictures import BucketPictures
from tests.kit.buckets import ObjectStore
from tests.kit.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(2_000_000_000.25)


@pytest.fixture
def section(object_store: ObjectStore) -> S3:
    return object_store.bucket(prefix="gw")


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[list[Database]]:
    with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
        yield [one, two]


@pytest.fixture
def stores(section: S3, databases: list[Database], clock: Clock) -> list[KeptImages]:
    """Of two servers of one bucket."""
    return [store(section, database, clock) for database in databases]


def store(section: S3, database: Database, clock: Clock) -> KeptImages:
    return KeptImages(BucketPictures(Bucket(section, clock)), database, Delivery(keep_seconds=60), clock)


async def test_what_one_server_puts_another_finds_reads_and_deletes(
    object_store: ObjectStore, section: S3, stores: list[KeptImages]
) -> None:
    mine, theirs = stores
    stored = await mine.put(b"picture", "png", tenant="Ärt / dept")
    assert object_store.keys(section) == [f"gw/images/{stored.id}/2000000061.png"]
    found = await theirs.find(stored.id)
    assert (found.tenant, found.ext, found.size_bytes, found.expires) == ("Ärt / dept", "png", 7, 2000000061)
    assert (await mine.read(stored), await theirs.read(found)) == (b"picture", b"picture")
    with pytest.raises(NotFound):
        await theirs.delete(stored.id, "somebody")
    await theirs.delete(stored.id, "Ärt / dept")
    for one in stores:
        with pytest.raises(NotFound):
            await one.read(stored)
    for unknown in ("0" * 32, "../x", ""):
        with pytest.raises(NotFound):
            await theirs.find(unknown)


async def test_what_has_expired_goes_and_is_not_there_before(
    object_store: ObjectStore, section: S3, stores: list[KeptImages], clock: Clock
) -> None:
    mine, theirs = stores
    stored, other = await mine.put(b"1", "png", tenant="a"), await theirs.put(b"2", "webp", tenant="a")
    assert await mine.sweep_leftovers() == 0
    clock.now += 61
    for one in stores:
        with pytest.raises(NotFound):
            await one.find(stored.id)
    assert (await mine.sweep(), len(object_store.keys(section))) == (1, 1)
    assert other.id in object_store.keys(section)[0]
    assert (await mine.sweep_leftovers(), object_store.keys(section)) == (1, [])


async def test_a_store_that_is_down_takes_no_picture_and_forgets_none(
    object_store: ObjectStore, stores: list[KeptImages], clock: Clock
) -> None:
    stored = await stores[0].put(b"1", "png", tenant="a")
    object_store.down = True
    with pytest.raises(Unavailable):
        await stores[0].put(b"2", "png", tenant="a")
    with pytest.raises(Unavailable):
        await stores[0].delete(stored.id, "a")
    object_store.begin()
    clock.now += 10
    assert (await stores[0].page("a", 9), await stores[0].read(stored)) == (([stored], False), b"1")
    await stores[0].delete(stored.id, "a")


async def test_the_buckets_own_address_is_good_for_so_long_and_no_longer_than_the_picture(
    section: S3, stores: list[KeptImages], clock: Clock
) -> None:
    stored = await stores[0].put(b"picture", "png", tenant="a")
    addresses = SignedByBucket(Bucket(section), clock)
    address = addresses.address(stored, "http://unused", 20)
    assert parse_qs(urlsplit(address).query)["X-Amz-Expires"] == ["20"]
    assert parse_qs(urlsplit(addresses.address(stored, "", 1e9)).query)["X-Amz-Expires"] == ["60"]
    async with httpx.AsyncClient() as http:
        got = await http.get(address)
    assert (got.content, got.headers["content-type"], got.headers["cache-control"]) == (
        b"picture",
        "image/png",
        "private",
    )


async def test_an_address_names_the_store_as_clients_reach_it(section: S3, stores: list[KeptImages]) -> None:
    stored = await stores[0].put(b"picture", "png", tenant="a")
    outside = section.model_copy(update={"public_endpoint": "https://pictures.example.com"})
    address = SignedByBucket(Bucket(outside)).address(stored, "http://unused", 20)
    assert address.startswith(f"https://pictures.example.com/{section.bucket}/gw/images/{stored.id}/")
