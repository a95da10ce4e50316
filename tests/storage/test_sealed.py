"""What is sealed is read by whoever has its key and by nobody else; what was changed or cut does not open."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

import pytest
from pydantic import SecretStr

from sdxl_gateway.core.errors import Gone, StartProblem
from sdxl_gateway.storage.blobs import PIECE_BYTES, BlobFolder, Blobs
from sdxl_gateway.storage.open_seal import open_seal
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.storage.sealed import HEADER_BYTES, TAG_BYTES, AesSeal, Unreadable

OLD, NEW = b"o" * 32, b"n" * 32
SIZES = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]


def secret(key: bytes) -> SecretStr:
    return SecretStr(base64.b64encode(key).decode())


@pytest.fixture
def folder(tmp_path: Path) -> Blobs:
    return AesSeal([NEW]).over(BlobFolder(tmp_path))


@pytest.mark.parametrize("size", SIZES)
def test_a_blob_comes_back(folder: Blobs, tmp_path: Path, size: int) -> None:
    data = secrets.token_bytes(size)
    source = tmp_path / "source"
    source.write_bytes(data)
    for blob_id in (folder.put(data), folder.put_file(source)):
        assert folder.read(blob_id) == data
        assert b"".join(folder.pieces(blob_id)) == data
        raw = (folder.spool / blob_id).read_bytes()
        assert len(raw) == HEADER_BYTES + size + TAG_BYTES * max(-(-size // PIECE_BYTES), 1)
        assert size < 100 or data[:50] not in raw


def test_a_blob_written_in_small_pieces(folder: Blobs) -> None:
    with folder.incoming() as file:
        for _ in range(30):
            file.write(b"abc" * 20_000)
        blob_id = folder.take(file)
    assert folder.read(blob_id) == b"abc" * 600_000


@pytest.mark.parametrize("at", [0, 9, 20, HEADER_BYTES, HEADER_BYTES + PIECE_BYTES + 50, -1])
def test_a_changed_byte_is_noticed(folder: Blobs, at: int) -> None:
    blob_id = folder.put(b"x" * (PIECE_BYTES + 500))
    raw = bytearray((folder.spool / blob_id).read_bytes())
    raw[at] ^= 1
    (folder.spool / blob_id).write_bytes(raw)
    if at == 0:  # it does not even say any more that it is sealed
        assert folder.read(blob_id) == bytes(raw)
    else:
        with pytest.raises(Unreadable):
            folder.read(blob_id)


@pytest.mark.parametrize("left", [HEADER_BYTES, HEADER_BYTES + PIECE_BYTES + TAG_BYTES, -1])
def test_a_blob_cut_short_does_not_open(folder: Blobs, left: int) -> None:
    blob_id = folder.put(b"x" * (2 * PIECE_BYTES + 5))
    (folder.spool / blob_id).write_bytes((folder.spool / blob_id).read_bytes()[:left])
    with pytest.raises(Unreadable):
        folder.read(blob_id)


def test_pieces_in_another_order_do_not_open(folder: Blobs) -> None:
    blob_id = folder.put(b"x" * (3 * PIECE_BYTES))
    raw, piece = (folder.spool / blob_id).read_bytes(), PIECE_BYTES + TAG_BYTES
    first, second = raw[HEADER_BYTES : HEADER_BYTES + piece], raw[HEADER_BYTES + piece : HEADER_BYTES + 2 * piece]
    (folder.spool / blob_id).write_bytes(raw[:HEADER_BYTES] + second + first + raw[HEADER_BYTES + 2 * piece :])
    with pytest.raises(Unreadable):
        folder.read(blob_id)


def test_what_lay_there_before_there_was_a_key(folder: Blobs, tmp_path: Path) -> None:
    plain = BlobFolder(tmp_path).put(b"plain as day" * 100)
    assert folder.read(plain) == b"plain as day" * 100
    assert AesSeal([NEW]).plain('{"prompt": "a"}') == '{"prompt": "a"}'
    with pytest.raises(Gone):
        folder.read("0" * 32)


def test_keys_are_rotated(tmp_path: Path) -> None:
    old, both = AesSeal([OLD]), AesSeal([NEW, OLD])
    blob_id, text = old.over(BlobFolder(tmp_path)).put(b"data"), old.sealed('{"prompt": "ä cat"}')
    assert both.over(BlobFolder(tmp_path)).read(blob_id) == b"data"
    assert both.plain(text) == '{"prompt": "ä cat"}'
    with pytest.raises(Unreadable):
        AesSeal([NEW]).plain(text)
    with pytest.raises(Unreadable):
        old.plain(both.sealed("{}"))
    assert "cat" not in text
    assert old.sealed("{}") != old.sealed("{}")


def test_without_a_key_things_stay_as_they_are(tmp_path: Path) -> None:
    seal = open_seal([], tmp_path)
    assert (type(seal), type(seal.over(BlobFolder(tmp_path))), seal.sealed("{}")) == (Seal, BlobFolder, "{}")
    assert list(tmp_path.iterdir()) == []


def test_a_start_without_the_key_is_refused(tmp_path: Path) -> None:
    open_seal([secret(OLD)], tmp_path)
    open_seal([secret(OLD)], tmp_path)
    open_seal([secret(NEW), secret(OLD)], tmp_path)
    ids = AesSeal([OLD, NEW]).key_ids
    assert json.loads((tmp_path / "seal.json").read_text("utf-8")) == {"keys": ids}
    for keys, says in (([], "none is given"), ([secret(NEW)], f"is sealed with the key {ids[0]},")):
        with pytest.raises(StartProblem, match=says) as told:
            open_seal(keys, tmp_path)
        assert "seal.json" in str(told.value)
    (tmp_path / "seal.json").write_text("{", "utf-8")
    with pytest.raises(StartProblem, match="cannot be read"):
        open_seal([secret(NEW)], tmp_path)


@pytest.mark.parametrize("key", ["short", "ä" * 32, base64.b64encode(b"x" * 31).decode(), base64.b64encode(OLD).hex()])
def test_a_key_that_is_none_is_not_told(tmp_path: Path, key: str) -> None:
    with pytest.raises(StartProblem, match="number 2 is not 32 bytes in base64") as told:
        open_seal([secret(OLD), SecretStr(key)], tmp_path)
    assert key not in str(told.value)
