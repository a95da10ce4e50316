"""The catalogue of a real folder: names, problems, admission, replacement, uploads; no name ever becomes a path."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.checks import CheckedLora
from sdxl_gateway.catalog.lora_folder.copies import keep_copy, store_path
from sdxl_gateway.catalog.lora_folder.fit import Fit
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, Problem, Signature, read_entry
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused, BodyTooLarge, InvalidRequest, ModelNotFound
from tests.kit.lora_files import file_bytes, lora_tensors, write
from tests.kit.peft_files import GOOD, MODULES, OTHER, names, peft_adapter

TWIN = GOOD[:-100] + bytes(100)
MISFIT = file_bytes(lora_tensors({"unet.mid_block.q": (64, 16)}))
CHECKPOINT = CheckpointEntry("demo", Path("demo"), "d" * 64, 0, MODULES, 4096, 4096)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "loras"
    folder.mkdir()
    return folder


@pytest.fixture
def catalog(root: Path, tmp_path: Path) -> LoraCatalog:
    return LoraCatalog(Loras(directory=root), tmp_path / "data")


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_names_are_paths_below_the_folder(root: Path, catalog: LoraCatalog) -> None:
    for name in ("ink", "styles/watercolor", "styles/deep/er/oil.v2"):
        write(root / f"{name}.safetensors", GOOD)
    write(root / "notes.txt", b"no LoRA")
    write(root / ".hidden.safetensors", GOOD)
    write(root / ".git" / "x.safetensors", GOOD)
    catalog.scan()
    assert names(catalog) == ["ink", "styles/deep/er/oil.v2", "styles/watercolor"]
    assert catalog.problems == ()
    entry = catalog.find("ink")
    assert (entry.size_bytes, entry.dtype, entry.defaults.trigger_words) == (len(GOOD), "F16", ("ink style",))
    assert abs(entry.created - (root / "ink.safetensors").stat().st_mtime) <= 1


@pytest.mark.parametrize(
    "asked", ["styles/Watercolor", "STYLES/WATERCOLOR", "watercolor", "WaterColor.safetensors", "trained_ink"]
)
def test_one_lora_by_all_its_names(root: Path, catalog: LoraCatalog, asked: str) -> None:
    write(root / "styles" / "Watercolor.safetensors", GOOD)
    write(root / "ink.safetensors", OTHER)
    catalog.scan()
    assert catalog.find(asked).name == "styles/Watercolor"


def test_a_name_in_either_unicode_spelling(root: Path, catalog: LoraCatalog) -> None:
    write(root / "cafe\u0301.safetensors", GOOD)
    catalog.scan()
    assert catalog.find("CAFÉ").name == "café"


def test_an_ambiguous_last_part_names_the_choices(root: Path, catalog: LoraCatalog) -> None:
    for name in ("a/ink", "b/ink"):
        write(root / f"{name}.safetensors", GOOD)
    catalog.scan()
    with pytest.raises(ModelNotFound, match="'a/ink' or 'b/ink'"):
        catalog.find("ink")
    assert catalog.find("b/ink").name == "b/ink"


def test_a_whole_name_goes_before_a_last_part(root: Path, catalog: LoraCatalog) -> None:
    for name in ("a/ink", "ink"):
        write(root / f"{name}.safetensors", GOOD)
    catalog.scan()
    assert catalog.find("INK").name == "ink"


def test_a_file_under_the_name_diffusers_gives_is_called_like_its_folder(root: Path, catalog: LoraCatalog) -> None:
    for folder in ("hub/lcm", "hub/ink"):
        write(root / folder / "pytorch_lora_weights.safetensors", GOOD)
    catalog.scan()
    assert catalog.find("LCM").name == "hub/lcm/pytorch_lora_weights"


def test_two_of_one_name_are_one_and_a_problem(root: Path, catalog: LoraCatalog) -> None:
    path = write(root / "ink.safetensors", GOOD)
    peft_adapter(root / "ink", "unet.mid_block.q", {"r": 4, "lora_alpha": 2})
    catalog.scan()
    assert names(catalog) == ["ink"]
    assert [problem.name for problem in catalog.problems] == ["ink"]
    path.unlink()
    catalog.scan()
    assert (names(catalog), catalog.problems) == (["ink"], ())


def test_an_unknown_name_gets_the_nearest(root: Path, catalog: LoraCatalog) -> None:
    write(root / "watercolor.safetensors", GOOD)
    catalog.scan()
    with pytest.raises(ModelNotFound, match="Did you mean 'watercolor'"):
        catalog.find("watercolour")


STRANGE_NAMES = [
    "",
    ".",
    "..",
    "../outside",
    "../outside.safetensors",
    "styles/../../outside",
    "..\\outside",
    "styles\\..\\..\\outside",
    "/etc/passwd",
    "//etc/passwd",
    "C:\\Windows\\x",
    "ink\0",
    "ink\0.safetensors",
    "%2e%2e/outside",
    "..%2foutside",
    "\u2024\u2024/outside",
    "．．/outside",
    "..／outside",
    "ink/",
    "/ink",
    "./ink",
    "ink\n",
    "\ud800",
    "x" * 100_000,
]


@pytest.mark.parametrize("name", STRANGE_NAMES, ids=range(len(STRANGE_NAMES)))
async def test_names_are_never_paths(root: Path, catalog: LoraCatalog, name: str) -> None:
    write(root.parent / "outside.safetensors", GOOD)
    write(root / "ink.safetensors", GOOD)
    catalog.scan()
    with pytest.raises(ModelNotFound) as missing:
        catalog.find(name)
    assert str(root) not in missing.value.message
    assert len(missing.value.message) < 300
    missing.value.message.encode()
    with pytest.raises(ModelNotFound):
        await catalog.check_in(name, CHECKPOINT)
    with pytest.raises(ModelNotFound):
        await catalog.remove(name)
    assert (root.parent / "outside.safetensors").exists()


def test_links_are_followed_only_inside(root: Path, catalog: LoraCatalog) -> None:
    outside = write(root.parent / "loras-evil" / "outside.safetensors", GOOD)
    inside = write(root / "real" / "ink.safetensors", GOOD)
    (root / "file-out.safetensors").symlink_to(outside)
    (root / "folder-out").symlink_to(outside.parent)
    (root / "file-in.safetensors").symlink_to(inside)
    (root / "circle").symlink_to(root)
    (root / "nowhere.safetensors").symlink_to(root / "missing")
    catalog.scan()
    assert names(catalog) == ["file-in", "real/ink"]
    told = {problem.name: problem.message for problem in catalog.problems}
    assert told["file-out"] == told["folder-out/outside"] == "The file is a link that leads out of the LoRA folder."
    assert told["nowhere"] == "The file cannot be read."


def test_the_folder_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    write(root / "ink.safetensors", GOOD)
    (tmp_path / "link").symlink_to(root)
    catalog = LoraCatalog(Loras(directory=tmp_path / "link"), tmp_path / "data")
    catalog.scan()
    assert names(catalog) == ["ink"]


async def test_a_link_turned_outside_after_the_scan_is_refused(root: Path, catalog: LoraCatalog) -> None:
    outside = write(root.parent / "outside.safetensors", OTHER)
    path = write(root / "ink.safetensors", GOOD)
    catalog.scan()
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(AdapterRefused, match="leads out"):
        await catalog.check_in("ink", CHECKPOINT)


@pytest.mark.parametrize("name", ["a+b", "ink:0.8", "ink: -1", "x" * 201, " ink", "a\tb", os.fsdecode(b"\xff\xfe")])
def test_a_name_that_could_not_be_asked_for_is_a_problem(root: Path, catalog: LoraCatalog, name: str) -> None:
    try:
        write(root / f"{name}.safetensors", GOOD)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    catalog.scan()
    assert names(catalog) == []
    assert len(catalog.problems) == 1
    assert catalog.problems[0].name.isprintable()
    assert "rename" in catalog.problems[0].message


def test_broken_files_are_problems_until_they_change(root: Path, catalog: LoraCatalog) -> None:
    path = write(root / "ink.safetensors", GOOD[:-1])
    os.utime(path, (1, 1))
    catalog.scan()
    assert (names(catalog), len(catalog.problems)) == ([], 1)
    assert "cut short" in catalog.problems[0].message
    path.write_bytes(GOOD)
    catalog.scan()
    assert (names(catalog), catalog.problems) == (["ink"], ())


def test_a_copy_whose_marks_do_not_tell_is_looked_at_again(root: Path, catalog: LoraCatalog) -> None:
    """As when a copy sets size and time first and fills in the bytes later."""
    path = write(root / "ink.safetensors", bytes(len(GOOD)))
    marks = path.stat()
    catalog.scan()
    assert names(catalog) == []
    path.write_bytes(GOOD)
    os.utime(path, ns=(marks.st_atime_ns, marks.st_mtime_ns))
    catalog.scan()
    assert names(catalog) == ["ink"]


def test_a_file_too_large_is_a_problem(root: Path, tmp_path: Path) -> None:
    write(root / "ink.safetensors", GOOD)
    catalog = LoraCatalog(Loras(directory=root, max_file_bytes=len(GOOD) - 1), tmp_path)
    catalog.scan()
    assert "at most" in catalog.problems[0].message


def test_a_sidecar_gives_defaults_and_its_problems_do_not_hide_the_lora(root: Path, catalog: LoraCatalog) -> None:
    write(root / "ink.safetensors", GOOD)
    catalog.scan()
    assert catalog.find("ink").defaults.weight is None
    write(root / "ink.toml", b"weight = 0.7\nwieght = 1")
    catalog.scan()
    assert catalog.find("ink").defaults.weight == 0.7
    assert [problem.message for problem in catalog.problems] == ["ink.toml: unknown key 'wieght'."]
    (root / "ink.toml").unlink()
    catalog.scan()
    assert catalog.find("ink").defaults.weight is None


def test_unchanged_files_are_not_read_again(root: Path, catalog: LoraCatalog) -> None:
    for i in range(5):
        write(root / f"ink{i}.safetensors", GOOD)
    catalog.scan()
    before = catalog.entries()
    write(root / "ink3.safetensors", OTHER)
    catalog.scan()
    same = [old is new for old, new in zip(before, catalog.entries(), strict=True)]
    assert same == [True, True, True, False, True]


def test_a_restart_reads_no_file_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "ink.safetensors", GOOD)
    write(root / "ink.toml", b"weight = 0.7\nwieght = 1")
    write(root / "set" / "old.safetensors", GOOD)
    first = LoraCatalog(Loras(directory=root), tmp_path / "data")
    first.scan()
    write(root / "set" / "old.safetensors", OTHER)
    read: list[str] = []

    def counted(
        path: Path, name: str, signature: Signature, limits: Loras, fit: Fit
    ) -> tuple[LoraEntry, tuple[Problem, ...]]:
        read.append(name)
        return read_entry(path, name, signature, limits, fit)

    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.scan.read_entry", counted)
    again = LoraCatalog(Loras(directory=root), tmp_path / "data")
    again.scan()
    assert read == ["set/old"]
    assert again.find("ink") == first.find("ink")
    assert again.problems == first.problems
    assert again.find("old").size_bytes == len(OTHER)


@pytest.mark.parametrize(
    "index", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 1, "root": 3, "rows": [{}]}', b"\xff"]
)
def test_a_damaged_index_is_no_index(root: Path, tmp_path: Path, index: bytes) -> None:
    write(root / "ink.safetensors", GOOD)
    write(tmp_path / "data" / "adapters-index.json", index)
    catalog = LoraCatalog(Loras(directory=root), tmp_path / "data")
    catalog.scan()
    assert names(catalog) == ["ink"]


def test_an_index_of_another_folder_is_not_used(root: Path, tmp_path: Path) -> None:
    write(root / "ink.safetensors", GOOD)
    LoraCatalog(Loras(directory=root), tmp_path / "data").scan()
    catalog = LoraCatalog(Loras(directory=tmp_path / "none"), tmp_path / "data")
    catalog.scan()
    assert names(catalog) == []


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    catalog = LoraCatalog(Loras(directory=tmp_path / "none"), tmp_path)
    catalog.scan()
    assert (names(catalog), catalog.problems) == ([], ())


async def test_a_peft_folder_is_one_lora(root: Path, catalog: LoraCatalog) -> None:
    peft_adapter(root / "sets" / "ink", "unet.mid_block.q", {"r": 4, "lora_alpha": 2})
    write(root / "half" / "adapter_config.json", b"{}")
    catalog.scan()
    assert names(catalog) == ["sets/ink"]
    assert [problem.name for problem in catalog.problems] == ["half"]
    admitted = await catalog.check_in("ink", CHECKPOINT)
    assert admitted.report.dialect == "PEFT"
    assert admitted.report.parts == {"unet": 1}


async def test_admission_copies_and_reports(root: Path, catalog: LoraCatalog, tmp_path: Path) -> None:
    write(root / "ink.safetensors", GOOD)
    catalog.scan()
    admitted = await catalog.check_in("INK", CHECKPOINT)
    assert store_path(tmp_path / "data", admitted.digest).read_bytes() == GOOD
    report = admitted.report
    assert (report.dialect, report.algorithms, report.ranks) == ("kohya", {"lora": 2}, (4,))
    assert report.parts == {"unet": 1, "text_encoder": 1}
    assert (report.matched_count, report.unmatched_count, report.size_bytes) == (6, 0, len(GOOD))
    assert (report.trigger_words, report.dtype) == (("ink style",), "F16")
    assert report.metadata == {"ss_output_name": "trained_ink"}


async def test_asking_again_reads_nothing(root: Path, catalog: LoraCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "ink.safetensors", GOOD)
    catalog.scan()
    copies = 0

    def counted(source: Path, data_directory: Path, limits: Loras) -> str:
        nonlocal copies
        copies += 1
        return keep_copy(source, data_directory, limits)

    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.checks.keep_copy", counted)
    together = await asyncio.gather(*(catalog.check_in("ink", CHECKPOINT) for _ in range(20)))
    assert len({id(admitted) for admitted in together}) == 1
    assert copies == 1


async def test_a_caller_that_leaves_does_not_disturb_the_others(
    root: Path, catalog: LoraCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "ink.safetensors", GOOD)
    catalog.scan()
    copying, go_on = threading.Event(), threading.Event()

    def slow(source: Path, data_directory: Path, limits: Loras) -> str:
        copying.set()
        assert go_on.wait(30)
        return keep_copy(source, data_directory, limits)

    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.checks.keep_copy", slow)
    leaving = asyncio.create_task(catalog.check_in("ink", CHECKPOINT))
    staying = asyncio.create_task(catalog.check_in("ink", CHECKPOINT))
    assert await asyncio.to_thread(copying.wait, 30)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    go_on.set()
    assert (await staying).digest


async def test_replacing_a_file_is_a_new_digest_and_the_old_copy_stays(
    root: Path, catalog: LoraCatalog, tmp_path: Path
) -> None:
    write(root / "ink.safetensors", GOOD)
    catalog.scan()
    first = await catalog.check_in("ink", CHECKPOINT)
    write(root / "new", OTHER).replace(root / "ink.safetensors")
    second = await catalog.check_in("ink", CHECKPOINT)
    assert first.digest != second.digest
    assert second.report.ranks == (2,)
    assert store_path(tmp_path / "data", first.digest).read_bytes() == GOOD


async def test_a_pruned_copy_is_made_again(root: Path, catalog: LoraCatalog, tmp_path: Path) -> None:
    write(root / "ink.safetensors", GOOD)
    catalog.scan()
    path = store_path(tmp_path / "data", (await catalog.check_in("ink", CHECKPOINT)).digest)
    path.unlink()
    await catalog.check_in("ink", CHECKPOINT)
    assert path.exists()


async def test_a_misfit_is_refused_before_it_is_copied(root: Path, catalog: LoraCatalog, tmp_path: Path) -> None:
    write(root / "ink.safetensors", MISFIT)
    catalog.scan()
    for _ in range(2):
        with pytest.raises(AdapterRefused, match="64x16, but in this checkpoint it is 32x16"):
            await catalog.check_in("ink", CHECKPOINT)
    assert not (tmp_path / "data" / "adapters").exists()
    write(root / "ink.safetensors", GOOD)
    assert (await catalog.check_in("ink", CHECKPOINT)).digest


def _linked(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


HARMS: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: os.truncate(path, len(GOOD) // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "overwritten in place": lambda path: path.write_bytes(OTHER),
    "overwritten by one of its size": lambda path: path.write_bytes(TWIN),
    "replaced": lambda path: write(path.with_name("new"), OTHER).replace(path),
    "taken away": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_name("other.safetensors")),
    "made a link outside": lambda path: _linked(path.with_name("link"), Path("/etc/passwd")).replace(path),
}
MOMENTS = ("check_inside", "read_source_header", "plan_lora", "keep_copy", "read_header", "make_report")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("harm", HARMS)
async def test_harm_at_any_moment_of_an_admission_gives_one_whole_file_or_a_refusal(
    root: Path, catalog: LoraCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str, moment: str
) -> None:
    path = write(root / "ink.safetensors", GOOD)
    catalog.scan()
    original = getattr(sys.modules[CheckedLora.__module__], moment)

    def harmed(*args: Any, **kwargs: Any) -> Any:
        if path.exists():
            HARMS[harm](path)
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[CheckedLora.__module__], moment, harmed)
        with suppress(AdapterRefused):
            digest = (await catalog.check_in("ink", CHECKPOINT)).digest
            assert store_path(tmp_path / "data", digest).read_bytes() in (GOOD, OTHER, TWIN)
    for copy in (tmp_path / "data" / "adapters").glob("*"):
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == copy.stem
    path.unlink(missing_ok=True)
    write(path, OTHER)
    again = await catalog.check_in("ink", CHECKPOINT)
    assert store_path(tmp_path / "data", again.digest).read_bytes() == OTHER


async def test_a_file_taken_away_is_no_model(root: Path, catalog: LoraCatalog) -> None:
    path = write(root / "ink.safetensors", GOOD)
    catalog.scan()
    path.unlink()
    with pytest.raises(ModelNotFound, match="not there any more"):
        await catalog.check_in("ink", CHECKPOINT)


async def in_chunks(data: bytes) -> AsyncIterator[bytes]:
    for i in range(0, len(data), 100):
        yield data[i : i + 100]


async def test_an_upload_becomes_a_name(root: Path, catalog: LoraCatalog) -> None:
    entry = await catalog.add("styles/ink", in_chunks(GOOD), checkpoint=CHECKPOINT)
    assert entry.name == "styles/ink"
    assert (root / "styles" / "ink.safetensors").read_bytes() == GOOD
    assert catalog.find("ink") is entry
    assert files_in(root) == ["styles/ink.safetensors"]


async def test_an_upload_overwrites_only_when_told(root: Path, catalog: LoraCatalog) -> None:
    await catalog.add("ink", GOOD)
    with pytest.raises(InvalidRequest, match="exists already"):
        await catalog.add("ink", OTHER)
    with pytest.raises(InvalidRequest, match="exists already"):
        await catalog.add("INK", OTHER)
    assert (root / "ink.safetensors").read_bytes() == GOOD
    await catalog.add("ink", OTHER, replace=True)
    assert (root / "ink.safetensors").read_bytes() == OTHER


async def test_a_file_that_came_meanwhile_is_not_overwritten(root: Path, catalog: LoraCatalog) -> None:
    write(root / "ink.safetensors", GOOD)
    with pytest.raises(InvalidRequest, match="exists already"):
        await catalog.add("ink", OTHER)
    assert (root / "ink.safetensors").read_bytes() == GOOD


@pytest.mark.parametrize(
    "name",
    [*STRANGE_NAMES, "a+b", "ink:1", ".hidden", "a/.b", "con", "a/nul.x", "a.", "a*", "a/" * 30 + "b", "x" * 300],
)
async def test_uploads_have_plain_names(root: Path, catalog: LoraCatalog, name: str) -> None:
    before = files_in(root.parent)
    try:
        entry = await catalog.add(name, GOOD)
    except InvalidRequest:
        assert files_in(root.parent) == before
        return
    assert entry.name == name
    assert files_in(root) == [f"{name}.safetensors"]
    assert files_in(root.parent) == ["data/adapters-index.json", f"loras/{name}.safetensors"]


@pytest.mark.parametrize("name", ["../ink", "/ink", "a\\b", "ink\0", "", "a//b", "..", "a+b"])
async def test_a_refused_upload_names_the_field(catalog: LoraCatalog, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await catalog.add(name, GOOD)
    assert refused.value.param == "name"


async def test_an_upload_through_a_link_outside_is_refused(root: Path, catalog: LoraCatalog) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "styles").symlink_to(outside)
    for name in ("styles/ink", "styles/deep/ink"):
        with pytest.raises(InvalidRequest, match="leads out"):
            await catalog.add(name, GOOD)
    assert files_in(outside) == []


async def test_a_bad_upload_leaves_nothing(root: Path, tmp_path: Path) -> None:
    catalog = LoraCatalog(Loras(directory=root, max_file_bytes=len(GOOD)), tmp_path / "data")
    with pytest.raises(AdapterRefused, match="cut short"):
        await catalog.add("ink", GOOD[:-1])
    with pytest.raises(AdapterRefused, match="in this checkpoint it is"):
        await catalog.add("ink", MISFIT, checkpoint=CHECKPOINT)
    with pytest.raises(BodyTooLarge):
        await catalog.add("ink", in_chunks(GOOD + b"x"))
    assert files_in(root) == []


async def test_removing_takes_the_sidecar_along_and_keeps_the_copy(
    root: Path, catalog: LoraCatalog, tmp_path: Path
) -> None:
    write(root / "ink.safetensors", GOOD)
    write(root / "ink.toml", b"weight = 1")
    peft_adapter(root / "set", "unet.mid_block.q", {"r": 4, "lora_alpha": 2})
    catalog.scan()
    digest = (await catalog.check_in("ink", CHECKPOINT)).digest
    await catalog.remove("ink")
    await catalog.remove("set")
    assert names(catalog) == []
    assert files_in(root) == []
    assert store_path(tmp_path / "data", digest).exists()
    with pytest.raises(ModelNotFound):
        await catalog.remove("ink")
