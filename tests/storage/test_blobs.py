"""Blobs are whole or not there, found by ids nobody guesses, and swept when nobody knows them."""

from __future__ import annotations

import os
import resource
import warnings
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import Gone, StorageFull
from sdxl_gateway.storage.blobs import PIECE_BYTES, BlobFolder


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "blobs" / "mine")


def files(blobs: BlobFolder) -> set[str]:
    return {path.name for path in blobs.path_of("0" * 32).parent.iterdir()}


def test_what_is_put_is_read(blobs: BlobFolder) -> None:
    ids = {blobs.put(f"blob {i}".encode()) for i in range(20)}
    blob_id = blobs.put(b"mine")
    assert (len(ids), len(files(blobs)), blobs.read(blob_id)) == (20, 21, b"mine")
    assert blobs.path_of(blob_id).stat().st_mode & 0o777 == 0o600
    assert blobs.path_of(blob_id).parent.stat().st_mode & 0o777 == 0o700


def test_a_large_one_comes_in_pieces(blobs: BlobFolder, tmp_path: Path) -> None:
    data = os.urandom(2 * PIECE_BYTES + 7)
    (tmp_path / "large").write_bytes(data)
    pieces = list(blobs.pieces(blobs.put_file(tmp_path / "large")))
    assert ([len(piece) for piece in pieces], b"".join(pieces)) == ([PIECE_BYTES, PIECE_BYTES, 7], data)
    assert (tmp_path / "large").exists()


def test_one_that_nobody_reads_after_all_is_closed(blobs: BlobFolder) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pieces = blobs.pieces(blobs.put(b"mine"))
        del pieces
    assert told == []


def test_what_is_deleted_is_gone(blobs: BlobFolder) -> None:
    blob_id = blobs.put(b"x")
    for _ in range(2):
        blobs.delete(blob_id)
    with pytest.raises(Gone):
        blobs.read(blob_id)


@pytest.mark.parametrize("name", ["", "../x", "0" * 31, "0" * 33, "A" * 32, ".incoming-0", "0" * 32 + "\n"])
def test_nothing_but_a_blob_is_ever_touched(blobs: BlobFolder, name: str) -> None:
    for touch in (blobs.read, blobs.delete, blobs.path_of):
        with pytest.raises(ValueError, match="no blob's id"):
            touch(name)


def test_one_that_is_not_taken_leaves_nothing(blobs: BlobFolder) -> None:
    with blobs.incoming() as file:
        file.write(b"half")
    assert files(blobs) == set()


def test_a_full_disk_is_told_keeps_nothing_and_gets_over(blobs: BlobFolder) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageFull):
            blobs.put(bytes(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(blobs) == set()
    assert blobs.read(blobs.put(bytes(20_000))) == bytes(20_000)


def test_a_sweep_leaves_what_is_known_young_or_not_a_blob(tmp_path: Path) -> None:
    now = [0.0]
    blobs = BlobFolder(tmp_path, lambda: now[0])
    known, lost = blobs.put(b"known"), blobs.put(b"lost")
    (tmp_path / ".incoming-cut.partial").write_bytes(b"ha")
    (tmp_path / "notes.txt").write_text("not mine")
    now[0] = blobs.path_of(lost).stat().st_mtime + 3000
    assert blobs.sweep({known}) == 0
    now[0] += 1000
    assert (blobs.sweep({known}), files(blobs)) == (2, {known, "notes.txt"})


def test_a_folder_nothing_was_put_into_is_swept_too(tmp_path: Path) -> None:
    assert BlobFolder(tmp_path / "none").sweep(set()) == 0
