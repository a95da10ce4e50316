"""An upload is read once: hashed as it comes, its header parsed and planned on the private copy, and then known."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.catalog import safetensors_header
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder import catalog as catalog_module
from sdxl_gateway.catalog.lora_folder import checks as checks_module
from sdxl_gateway.catalog.lora_folder import scan as scan_module
from sdxl_gateway.catalog.lora_folder import upload as upload_module
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.copies import IncomingCopy, store_path
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused, BodyTooLarge, InvalidRequest, WrongState
from tests.kit.lora_files import file_bytes, lora_tensors, write
from tests.kit.peft_files import GOOD, MODULES, OTHER

TWIN = GOOD[:-100] + bytes(100)
MISFIT = file_bytes(lora_tensors({"unet.mid_block.q": (64, 16)}))
CHECKPOINT = CheckpointEntry("demo", Path("demo"), "d" * 64, 0, MODULES, 4096, 4096)
SECOND = CheckpointEntry("second", Path("second"), "e" * 64, 0, MODULES, 4096, 4096)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "loras"


@pytest.fixture
def catalog(root: Path, tmp_path: Path) -> LoraCatalog:
    return opened(root, tmp_path)


def opened(root: Path, tmp_path: Path, checkpoints: Iterable[CheckpointEntry] = (), **section: Any) -> LoraCatalog:
    catalog = LoraCatalog(Loras(directory=root, **section), tmp_path / "data", checkpoints=checkpoints)
    catalog.scan()
    return catalog


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def copies_in(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "data" / "adapters").glob("*"))]


async def in_chunks(data: bytes) -> AsyncIterator[bytes]:
    for i in range(0, len(data), 100):
        yield data[i : i + 100]


class Counts:
    """How often headers were parsed, plans made and files hashed into the store, since it was made or `reset`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parsed = self.planned = self.copied = 0
        for module, name, counter in (
            (safetensors_header, "parse_header", "parsed"),
            (catalog_module, "plan_lora", "planned"),
            (checks_module, "plan_lora", "planned"),
            (checks_module, "keep_copy", "copied"),
        ):
            monkeypatch.setattr(module, name, self._counted(getattr(module, name), counter))

    def _counted(self, function: Callable[..., Any], counter: str) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            setattr(self, counter, getattr(self, counter) + 1)
            return function(*args, **kwargs)

        return counted

    def told(self) -> tuple[int, int, int]:
        found = (self.parsed, self.planned, self.copied)
        self.parsed = self.planned = self.copied = 0
        return found


async def test_an_upload_is_parsed_once_and_the_first_request_parses_nothing(
    root: Path, catalog: LoraCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "old.safetensors", GOOD)
    catalog.scan()
    counts = Counts(monkeypatch)
    entry = await catalog.add("styles/ink", in_chunks(GOOD), checkpoint=CHECKPOINT)
    assert counts.told() == (1, 1, 0)
    checked = await catalog.check_in("ink", CHECKPOINT)
    await catalog.refresh()
    assert counts.told() == (0, 0, 0)
    assert (checked.entry, checked.digest) == (entry, hashlib.sha256(GOOD).hexdigest())
    assert (checked.report.matched_count, checked.report.trigger_words) == (6, ("ink style",))
    assert store_path(tmp_path / "data", checked.digest).read_bytes() == GOOD
    again = opened(root, tmp_path)
    assert counts.told() == (0, 0, 0)
    assert again.find("styles/ink") == entry
    await catalog.check_in("ink", SECOND)
    assert counts.told() == (2, 1, 1)


async def test_what_is_remembered_is_what_a_check_would_find(root: Path, catalog: LoraCatalog, tmp_path: Path) -> None:
    write(root / "ink.toml", b'weight = 0.5\ntrigger_words = ["wash"]\nwieght = 1')
    catalog.scan()
    entry = await catalog.add("ink", GOOD, checkpoint=CHECKPOINT)
    remembered = await catalog.check_in("ink", CHECKPOINT)
    shutil.rmtree(tmp_path / "data")
    other = opened(root, tmp_path, [CHECKPOINT])
    assert other.find("ink") == entry
    assert other.problems == catalog.problems
    assert await other.check_in("ink", CHECKPOINT) == remembered
    assert entry.defaults.weight == 0.5


async def test_an_upload_without_a_scan_before_it_knows_the_rest_of_the_folder(root: Path, tmp_path: Path) -> None:
    write(root / "old.safetensors", OTHER)
    catalog = LoraCatalog(Loras(directory=root), tmp_path / "data")
    await catalog.add("ink", GOOD)
    assert [entry.name for entry in catalog.entries()] == ["ink", "old"]


@pytest.mark.parametrize("harm", [OTHER, TWIN, GOOD[:-1], b""], ids=["other", "twin", "cut", "empty"])
async def test_the_folders_file_may_be_overwritten_and_the_copy_stays(
    root: Path, catalog: LoraCatalog, tmp_path: Path, harm: bytes
) -> None:
    await catalog.add("ink", GOOD, checkpoint=CHECKPOINT)
    first = await catalog.check_in("ink", CHECKPOINT)
    (root / "ink.safetensors").write_bytes(harm)
    assert store_path(tmp_path / "data", first.digest).read_bytes() == GOOD
    try:
        second = await catalog.check_in("ink", CHECKPOINT)
    except AdapterRefused:
        assert harm not in (OTHER, TWIN)
    else:
        assert store_path(tmp_path / "data", second.digest).read_bytes() == harm


async def test_a_file_overwritten_as_soon_as_it_lies_there_is_read_again(
    root: Path, catalog: LoraCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_and_overwrite(*args: Any, **kwargs: Any) -> Any:
        mark = upload_module.put_file(*args, **kwargs)
        (root / "ink.safetensors").write_bytes(TWIN)
        return mark

    monkeypatch.setattr(catalog_module, "put_file", put_and_overwrite)
    await catalog.add("ink", GOOD, checkpoint=CHECKPOINT)
    assert copies_in(tmp_path) == []
    checked = await catalog.check_in("ink", CHECKPOINT)
    assert checked.digest == hashlib.sha256(TWIN).hexdigest()


async def test_replacing_is_a_new_copy_and_the_old_one_stays(
    catalog: LoraCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await catalog.add("ink", GOOD, checkpoint=CHECKPOINT)
    counts = Counts(monkeypatch)
    await catalog.add("ink", OTHER, checkpoint=CHECKPOINT, replace=True)
    checked = await catalog.check_in("ink", CHECKPOINT)
    assert counts.told() == (1, 1, 0)
    assert checked.report.ranks == (2,)
    assert sorted(copies_in(tmp_path)) == sorted([GOOD, OTHER])


async def test_a_name_that_is_taken_meanwhile_leaves_nothing_behind(
    root: Path, catalog: LoraCatalog, tmp_path: Path
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield GOOD
        write(root / "ink.safetensors", OTHER)

    with pytest.raises(InvalidRequest, match="exists already") as refused:
        await catalog.add("ink", slow(), checkpoint=CHECKPOINT)
    assert refused.value.param == "name"
    assert (root / "ink.safetensors").read_bytes() == OTHER
    assert files_in(root) == ["ink.safetensors"]
    assert copies_in(tmp_path) == []


async def test_two_uploads_of_one_name_are_one_lora(root: Path, catalog: LoraCatalog, tmp_path: Path) -> None:
    uploads = (catalog.add("ink", in_chunks(data), checkpoint=CHECKPOINT) for data in (GOOD, OTHER))
    found = await asyncio.gather(*uploads, return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["InvalidRequest", "LoraEntry"]
    assert copies_in(tmp_path) == [(root / "ink.safetensors").read_bytes()]


@pytest.mark.parametrize(
    ("content", "error"),
    [(GOOD[:-1], AdapterRefused), (MISFIT, AdapterRefused), (b"", AdapterRefused), (GOOD + b"x", BodyTooLarge)],
    ids=["cut", "misfit", "empty", "large"],
)
async def test_a_refused_upload_leaves_nothing(
    root: Path, tmp_path: Path, content: bytes, error: type[Exception]
) -> None:
    catalog = opened(root, tmp_path, max_file_bytes=len(GOOD))
    with pytest.raises(error):
        await catalog.add("styles/ink", in_chunks(content), checkpoint=CHECKPOINT)
    assert files_in(tmp_path) == []


async def test_a_body_cut_short_leaves_nothing(catalog: LoraCatalog, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield GOOD[:100]
        raise InvalidRequest("The form is cut short.")

    with pytest.raises(InvalidRequest, match="cut short"):
        await catalog.add("ink", broken(), checkpoint=CHECKPOINT)
    assert files_in(tmp_path) == []


async def test_a_caller_that_leaves_leaves_nothing(catalog: LoraCatalog, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield GOOD[:100]
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(catalog.add("ink", stalled(), checkpoint=CHECKPOINT))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("trouble", ["write", "copy", "sync"])
async def test_a_full_disk_leaves_nothing(
    catalog: LoraCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    places: dict[str, tuple[object, str]] = {
        "write": (IncomingCopy, "write"),
        "copy": (shutil, "copyfile"),
        "sync": (os, "fsync"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*places[trouble], full)
        with pytest.raises(OSError, match="disk full"):
            await catalog.add("ink", GOOD, checkpoint=CHECKPOINT)
    assert files_in(tmp_path) == []
    assert (await catalog.add("ink", GOOD, checkpoint=CHECKPOINT)).name == "ink"


async def test_the_look_at_the_folder_decides_what_lies_there(
    root: Path, catalog: LoraCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "candidates", lambda _: iter(()))
    with pytest.raises(AdapterRefused, match="cannot hold a file of that name"):
        await catalog.add("ink", GOOD, checkpoint=CHECKPOINT)
    assert files_in(root) == []


async def test_a_folder_that_is_not_the_servers_is_told(
    catalog: LoraCatalog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    await catalog.add("ink", GOOD)
    monkeypatch.setattr(upload_module, "IncomingFile", refused)
    with pytest.raises(WrongState, match="cannot be written"):
        await catalog.add("other", OTHER)
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(WrongState, match="cannot be written"):
        await catalog.remove("ink")
    monkeypatch.undo()
    assert files_in(root) == ["ink.safetensors"]
