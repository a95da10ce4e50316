"""A file dropped into the watched folder is a name a moment later; a copy in progress becomes one when it is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.watch import changes
from sdxl_gateway.config import Loras
from tests.kit.lora_files import write
from tests.kit.peft_files import GOOD, OTHER, names
from tests.kit.watching import until, watching

PATIENCE_SECONDS = 30


async def test_files_come_change_and_go(tmp_path: Path) -> None:
    root = tmp_path / "loras"
    write(root / "first.safetensors", GOOD)
    catalog = LoraCatalog(Loras(directory=root), tmp_path)
    async with watching(catalog.watch()):
        await until(lambda: names(catalog) == ["first"])
        write(root / "sub" / "second.safetensors", GOOD)
        await until(lambda: names(catalog) == ["first", "sub/second"])
        write(root / "first.toml", b"weight = 0.5")
        await until(lambda: catalog.find("first").defaults.weight == 0.5)
        write(root / "new", OTHER).replace(root / "first.safetensors")
        await until(lambda: catalog.find("first").size_bytes == len(OTHER))
        (root / "first.safetensors").unlink()
        await until(lambda: names(catalog) == ["sub/second"])


async def test_a_copy_in_progress_becomes_a_name_when_it_is_whole(tmp_path: Path) -> None:
    root = tmp_path / "loras"
    root.mkdir()
    catalog = LoraCatalog(Loras(directory=root), tmp_path)
    async with watching(catalog.watch()):
        path = write(root / "ink.safetensors", GOOD[:100])
        await until(lambda: len(catalog.problems) == 1)
        assert names(catalog) == []
        path.write_bytes(GOOD)
        await until(lambda: names(catalog) == ["ink"])
        assert catalog.problems == ()


async def test_where_nothing_can_be_watched_the_folder_is_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_watches_left(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.watch.awatch", no_watches_left)
    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.watch.UNWATCHED_SECONDS", 0.05)
    root = tmp_path / "loras"
    root.mkdir()
    catalog = LoraCatalog(Loras(directory=root), tmp_path)
    async with watching(catalog.watch()):
        write(root / "ink.safetensors", GOOD)
        await until(lambda: names(catalog) == ["ink"])


async def test_a_folder_that_comes_later_is_watched(tmp_path: Path) -> None:
    root = tmp_path / "loras"
    catalog = LoraCatalog(Loras(directory=root), tmp_path)
    async with watching(catalog.watch()):
        write(root / "ink.safetensors", GOOD)
        await until(lambda: names(catalog) == ["ink"])


async def test_a_name_that_cannot_be_decoded_ends_nothing(tmp_path: Path) -> None:
    root = tmp_path / "loras"
    root.mkdir()
    catalog = LoraCatalog(Loras(directory=root), tmp_path)
    async with watching(catalog.watch()):
        write(root / "first.safetensors", GOOD)
        await until(lambda: names(catalog) == ["first"])
        try:
            write(root / os.fsdecode(b"\xff\xfe.safetensors"), GOOD)
        except (OSError, UnicodeError):
            pytest.skip("this file system has no such names")
        await until(lambda: len(catalog.problems) == 1)
        write(root / "ink.safetensors", GOOD)
        await until(lambda: names(catalog) == ["first", "ink"])
        write(root / os.fsdecode(b"sub-\xff") / "second.safetensors", GOOD)
        (root / "first.safetensors").unlink()
        await until(lambda: names(catalog) == ["ink"])


async def test_a_watcher_that_keeps_breaking_is_tried_ever_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def breaks(*_: object, **__: object) -> None:
        raise ExceptionGroup("several", [ValueError("of a kind to come")])

    async def paused(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.watch.awatch", breaks)
    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.watch.asyncio.sleep", paused)
    looks = 0
    async for _ in changes(tmp_path, lambda: False):
        looks += 1
        if looks == 8:
            break
    assert pauses == [0.5, 1, 2, 4, 8, 15, 15]
