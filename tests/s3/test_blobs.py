"""Blobs in a bucket are whole or not there, sealed where there is a key, and swept by their own server alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import Gone, Unavailable
from sdxl_gateway.storage.blobs import BlobFolder, Blobs
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.storage.sealed import AesSeal

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.config import S3
from sdxl_gateway.s3.blobs import LOOK_SECONDS, BucketBlobs
from sdxl_gateway.s3.bucket import PART_BYTES, Bucket
from tests.kit.buckets import ObjectStore

Clock = Callable[[], float]


@pytest.fixture
def section(object_store: ObjectStore) -> S3:
    return object_store.bucket()


def blobs_of(section: S3, folder: Path, node: str = "me", clock: Clock = time.time, pause: Clock = time.time) -> Blobs:
    return BucketBlobs(Bucket(section, pause), f"files/{node}", folder, clock)


@pytest.mark.parametrize("seal", [Seal(), AesSeal([b"k" * 32])], ids=["plain", "sealed"])
def test_what_is_put_is_read(object_store: ObjectStore, section: S3, tmp_path: Path, seal: Seal) -> None:
    blobs, data = seal.over(blobs_of(section, tmp_path)), os.urandom(PART_BYTES + 7)
    with blobs.incoming() as file:
        file.write(data[:100])
        file.write(data[100:])
        assert object_store.keys(section) == []
        blob_id = blobs.take(file)
    small = blobs.put(b"plain as day")
    assert (blobs.read(blob_id), blobs.read(small)) == (data, b"plain as day")
    assert object_store.keys(section) == sorted([f"files/me/{blob_id}", f"files/me/{small}"])
    assert (Bucket(section).read(f"files/me/{small}") == b"plain as day") == (type(seal) is Seal)
    assert list(tmp_path.iterdir()) == []
    blobs.delete(small)
    with pytest.raises(Gone):
        blobs.pieces(small)
    with pytest.raises(ValueError, match="no blob's id"):
        blobs.read("../x")


@pytest.mark.parametrize("seal", [Seal(), AesSeal([b"k" * 32])], ids=["plain", "sealed"])
def test_another_server_reads_what_it_is_told_the_address_of(section: S3, tmp_path: Path, seal: Seal) -> None:
    ours, theirs = (seal.over(blobs_of(section, tmp_path, node)) for node in ("me", "other"))
    blob = ours.put(b"picture")
    address = ours.address(blob)
    assert address == f"files/me/{blob}"
    assert theirs.read_at(address) == b"picture"
    ours.delete(blob)
    with pytest.raises(Gone):
        theirs.read_at(address)


def test_what_lies_on_this_machine_has_no_address(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    assert blobs.address(blobs.put(b"picture")) is None
    with pytest.raises(Gone):
        blobs.read_at("files/me/picture")


@pytest.mark.parametrize("seal", [Seal(), AesSeal([b"k" * 32])], ids=["plain", "sealed"])
def test_what_was_written_can_be_read_before_it_is_taken(section: S3, tmp_path: Path, seal: Seal) -> None:
    blobs = seal.over(blobs_of(section, tmp_path))
    with blobs.incoming() as file:
        file.write(b"as it came")
        assert blobs.written(file) == b"as it came"
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_down_takes_nothing_and_leaves_nothing(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    blobs = blobs_of(section, tmp_path)
    object_store.down = True
    with pytest.raises(Unavailable):
        blobs.put(b"x")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_deleted_now_goes_with_the_next(object_store: ObjectStore, section: S3, tmp_path: Path) -> None:
    now = [0.0]
    blobs = blobs_of(section, tmp_path, pause=lambda: now[0])
    first, second = blobs.put(b"1"), blobs.put(b"2")
    object_store.down = True
    blobs.delete(first)
    object_store.down = False
    now[0] += 60
    assert len(object_store.keys(section)) == 2
    blobs.delete(second)
    assert object_store.keys(section) == []


def test_a_sweep_leaves_what_is_known_young_or_anothers(object_store: ObjectStore, section: S3, tmp_path: Path) -> None:
    now = [time.time()]
    blobs, other = blobs_of(section, tmp_path, clock=lambda: now[0]), blobs_of(section, tmp_path, "other")
    known, _, others = blobs.put(b"known"), blobs.put(b"lost"), other.put(b"other")
    (tmp_path / ".incoming-cut.partial").write_bytes(b"ha")
    assert blobs.sweep({known}) == 0
    now[0] += LOOK_SECONDS + 60
    assert blobs.sweep({known}) == 2
    assert object_store.keys(section) == [f"files/me/{known}", f"files/other/{others}"]
    object_store.begin()
    assert (blobs.sweep({known}), object_store.asked) == (0, [])
