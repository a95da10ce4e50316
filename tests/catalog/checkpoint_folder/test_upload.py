"""A checkpoint comes whole or not at all, and what cannot be one ends with its header."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoint_folder.upload import LEFT_SECONDS
from sdxl_gateway.config import CheckpointFolder
from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest
from sdxl_gateway.core.files import INCOMING_PREFIX, INCOMING_SUFFIX
from tests.kit.admission import demo
from tests.kit.single_files import write_single_file


class Sent:
    """Bytes in pieces, counted as they are asked for."""

    def __init__(self, data: bytes, piece: int = 2**16) -> None:
        self.pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
        self.asked = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.asked += 1
            yield piece


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A single file of the demo's shapes, which a side-car has to say."""
    return write_single_file(tmp_path_factory.mktemp("one") / "one.safetensors").read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "one.toml").write_text('config = "demo"\nsteps = 4\n')
    return tmp_path


def catalog(folder: Path, max_file_bytes: int = 2**30) -> CheckpointCatalog:
    made = CheckpointCatalog({"demo": demo()}, CheckpointFolder(directory=folder, max_file_bytes=max_file_bytes))
    made.scan()
    return made


def lies(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


async def test_it_comes_by_its_name_and_is_a_model(folder: Path, whole: bytes) -> None:
    one = catalog(folder)
    left = folder / "art" / f"{INCOMING_PREFIX}old{INCOMING_SUFFIX}"
    left.write_bytes(b"left")
    os.utime(left, (1, left.stat().st_mtime - LEFT_SECONDS - 1))
    entry = await one.add("art/one.safetensors", aiter(Sent(whole, piece=999)))
    assert (entry.name, entry.section.steps, one["art/one"]) == ("art/one", 4, entry)
    assert (folder / "art" / "one.safetensors").read_bytes() == whole
    assert lies(folder) == {"art/one.toml", "art/one.safetensors"}
    with pytest.raises(InvalidRequest, match="exists already"):
        await one.add("art/one", aiter(Sent(whole)))
    for taken in ("demo", "DEMO", "Art/One"):
        with pytest.raises(InvalidRequest, match="exists already"):
            await one.add(taken, aiter(Sent(whole)))


async def test_of_two_spellings_of_a_letter_either_will_do(folder: Path, whole: bytes) -> None:
    one, (spelt, apart) = catalog(folder), ("caf\u00e9", "cafe\u0301")
    (folder / f"{apart}.toml").write_text('config = "demo"')
    assert (await one.add(apart, aiter(Sent(whole)))).name == spelt
    with pytest.raises(InvalidRequest, match="exists already"):
        await one.add(spelt, aiter(Sent(whole)))


async def test_what_is_no_sdxl_ends_with_its_header(folder: Path, whole: bytes) -> None:
    """Without the side-car's word the demo's shapes are not SDXL's; a LoRA is none in any case."""
    other = save({f"lora_unet_{number}.lora_up.weight": np.ones((64, 64), np.float32) for number in range(40)})
    for name, data in (("two", whole), ("three", other), ("art/one", other)):
        sent = Sent(data)
        with pytest.raises(InvalidRequest) as refused:
            await catalog(folder).add(name, aiter(sent))
        assert (refused.value.param, sent.asked < len(sent.pieces)) == ("file", True)
        assert str(folder) not in refused.value.message
        assert INCOMING_PREFIX not in refused.value.message
    assert lies(folder) == {"art/one.toml"}


def of_header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"short", b"\x7fELF" + bytes(99), bytes(8) + b"{}", b"\xff" * 2**17),
        *(of_header(b'{"a": {"data_offsets": [0, %s]}}' % end) for end in (b"1e999", b"-Infinity", b"NaN", b"[]")),
        *(of_header(text) for text in (b"[]", b'{"a": 1}', b'{"a": {"data_offsets": 1}}', b"[" * 10_000)),
    ],
)
async def test_what_is_no_safetensors_file_is_told(folder: Path, data: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await catalog(folder).add("art/one", aiter(Sent(data)))
    assert refused.value.param == "file"
    assert lies(folder) == {"art/one.toml"}


async def test_a_file_that_is_cut_or_too_large_leaves_nothing(folder: Path, whole: bytes) -> None:
    for data in (whole[:-1], whole + b"x"):
        with pytest.raises(InvalidRequest, match="as long as"):
            await catalog(folder).add("art/one", aiter(Sent(data)))
    sent = Sent(whole)
    with pytest.raises(BodyTooLarge):
        await catalog(folder, len(whole) - 1).add("art/one", aiter(sent))
    assert sent.asked < len(sent.pieces), "its header told"
    with pytest.raises(InvalidRequest) as refused:
        await catalog(folder).add("../one", aiter(Sent(whole)))
    assert refused.value.param == "name"
    assert lies(folder) == {"art/one.toml"}


async def test_a_sender_that_goes_away_leaves_nothing(folder: Path, whole: bytes) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield whole[: len(whole) // 2]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await catalog(folder).add("art/one", broken())
    assert lies(folder) == {"art/one.toml"}


async def test_a_header_that_lies_about_its_length_takes_no_room(folder: Path) -> None:
    head = json.dumps({"a": {"dtype": "F16", "shape": [2**40], "data_offsets": [0, 2**41]}}).encode()
    with pytest.raises(BodyTooLarge):
        await catalog(folder).add("art/one", aiter(Sent(of_header(head))))
    assert lies(folder) == {"art/one.toml"}
