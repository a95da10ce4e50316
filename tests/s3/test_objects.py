"""Objects in a bucket are read by all who say their name, and go by whole words of it, or by their age."""

from __future__ import annotations

import time

import pytest

from sdxl_gateway.core.errors import Gone, Unavailable

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.config import S3
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.objects import BucketObjects
from sdxl_gateway.storage.objects import Objects
from tests.kit.buckets import ObjectStore

HOUR = 3600.0
NEIGHBOURS = ["art-2/one", "art.d/one", "art2/one", "other/art/one"]
"""What begins with the letters of "art", or has the word further on."""


@pytest.fixture(params=["", "team/gw"], ids=["whole", "prefixed"])
def section(object_store: ObjectStore, request: pytest.FixtureRequest) -> S3:
    return object_store.bucket(request.param)


def objects_of(section: S3, folder: str = "results") -> Objects:
    return BucketObjects(Bucket(section), folder)


def names(store: ObjectStore, section: S3, folder: str = "results") -> list[str]:
    """Those of all objects there, as Amazon's own client tells."""
    below = f"{section.prefix}/{folder}/".removeprefix("/")
    return [key.removeprefix(below) for key in store.keys(section) if key.startswith(below)]


def test_what_one_server_puts_another_reads_as_it_was_put_last(object_store: ObjectStore, section: S3) -> None:
    ours, theirs = objects_of(section), objects_of(section)
    ours.put("art/one", b"first")
    theirs.put("art/one", b"second")
    assert (ours.read("art/one"), names(object_store, section)) == (b"second", ["art/one"])
    for missing in ("art", "art/on", "art/one/more"):
        with pytest.raises(Gone):
            ours.read(missing)


def test_a_word_takes_nothing_with_it_that_only_begins_alike(object_store: ObjectStore, section: S3) -> None:
    ours, elsewhere = objects_of(section), objects_of(section, "results2")
    for name in [*NEIGHBOURS, "art/one", "art/two", "art/deep/one"]:
        ours.put(name, b"x")
    elsewhere.put("art/one", b"x")
    ours.delete_below("art")
    assert (names(object_store, section), names(object_store, section, "results2")) == (NEIGHBOURS, ["art/one"])
    ours.delete_below("art")
    ours.delete_below("other/ar")
    assert names(object_store, section) == NEIGHBOURS
    ours.delete_below("other/art")
    assert names(object_store, section) == NEIGHBOURS[:-1]


def test_what_is_older_goes_of_its_own_folder_alone(object_store: ObjectStore, section: S3) -> None:
    ours, elsewhere = objects_of(section), objects_of(section, "results2")
    for one in (ours, elsewhere):
        one.put("art/one", b"x")
    ours.forget_before(time.time() - HOUR)
    assert names(object_store, section) == ["art/one"]
    ours.forget_before(time.time() + HOUR)
    assert (names(object_store, section), names(object_store, section, "results2")) == ([], ["art/one"])


def test_a_store_that_is_down_says_so(object_store: ObjectStore, section: S3) -> None:
    objects_of(section).put("art/one", b"x")
    object_store.down = True
    asked = (
        lambda: objects_of(section).put("art/two", b"x"),
        lambda: objects_of(section).read("art/one"),
        lambda: objects_of(section).delete_below("art"),
        lambda: objects_of(section).forget_before(time.time() + HOUR),
    )
    for ask in asked:
        with pytest.raises(Unavailable):
            ask()
    object_store.down = False
    assert names(object_store, section) == ["art/one"]
