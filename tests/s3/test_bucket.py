"""What a bucket is given it gives back, however large; one that is down is told of, and left alone for a while."""

from __future__ import annotations

import logging
import os

import pytest

from sdxl_gateway.config import S3
from sdxl_gateway.core.errors import Gone, StartProblem, Unavailable

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.s3.bucket import PART_BYTES, PAUSE_SECONDS, Bucket
from tests.kit.buckets import ObjectStore
from tests.kit.clock import Clock


def test_what_is_put_is_read_and_listed_below_its_prefix(object_store: ObjectStore) -> None:
    section = object_store.bucket(prefix="team/a")
    bucket = Bucket(section)
    bucket.put("x/one", b"1", {"Content-Type": "image/png", "tenant": "art"})
    bucket.put("y/empty", b"")
    assert object_store.keys(section) == ["team/a/x/one", "team/a/y/empty"]
    assert (bucket.read("x/one"), bucket.read("y/empty")) == (b"1", b"")
    assert bucket.attributes("x/one").items() >= {"Content-Type": "image/png", "tenant": "art"}.items()
    assert [(one.key, one.size_bytes) for one in bucket.entries("x")] == [("x/one", 1)]
    bucket.delete("x/one", "x/none")
    assert list(bucket.entries("x")) == []
    for ask in (bucket.read, bucket.pieces, bucket.attributes):
        with pytest.raises(Gone):
            ask("x/one")


def test_a_large_one_goes_and_comes_in_parts(object_store: ObjectStore) -> None:
    section = object_store.bucket()
    bucket, data = Bucket(section), os.urandom(2 * PART_BYTES + 5)
    bucket.put("large", data)
    path = f"/{section.bucket}/large"
    assert [one.partition(" ")[0] for one in object_store.asked if one.endswith(path)] == ["POST", *["PUT"] * 3, "POST"]
    pieces = list(bucket.pieces("large"))
    assert ([len(piece) for piece in pieces], b"".join(pieces)) == ([PART_BYTES, PART_BYTES, 5], data)
    assert b"".join(bucket.ranges("large", PART_BYTES + 1, len(data))) == data[PART_BYTES + 1 :]


def test_what_fails_once_is_tried_again(object_store: ObjectStore) -> None:
    bucket = Bucket(object_store.bucket(retry_seconds=10.0))
    object_store.failures = 1
    bucket.put("one", b"1")
    object_store.failures = 1
    assert bucket.read("one") == b"1"


def test_one_that_is_down_is_told_of_and_left_alone_for_a_while(object_store: ObjectStore) -> None:
    clock = Clock(0.0)
    bucket = Bucket(object_store.bucket(), clock)
    bucket.put("one", b"1")
    object_store.down = True
    with pytest.raises(Unavailable) as told:
        bucket.put("two", b"2")
    assert told.value.retry_after_seconds == PAUSE_SECONDS
    object_store.begin()
    assert "X-Amz-Signature=" in bucket.sign("one", 60)
    with pytest.raises(Unavailable):
        bucket.read("one")
    assert object_store.asked == []
    clock.now += PAUSE_SECONDS
    assert bucket.read("one") == b"1"


def test_a_bucket_that_is_not_there_stops_the_start_and_takes_nothing(object_store: ObjectStore) -> None:
    bucket = Bucket(S3(bucket="nobodys", endpoint=object_store.endpoint, retry_seconds=0))
    with pytest.raises(StartProblem, match=r"s3: the bucket cannot be used: .*404 Not Found$"):
        bucket.check()
    with pytest.raises(Unavailable):
        bucket.put("one", b"1")


@pytest.mark.usefixtures("object_store")
def test_a_store_that_is_silent_at_the_start_is_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    bucket = Bucket(S3(bucket="any", endpoint="http://127.0.0.1:9", retry_seconds=0))
    with caplog.at_level(logging.WARNING):
        bucket.check()
    assert "does not answer yet" in caplog.text
    assert "\n" not in caplog.messages[0]
