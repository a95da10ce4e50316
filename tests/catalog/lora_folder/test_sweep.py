"""The store stays below its cap while the server runs, and no copy goes that a job has or is about to have."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder import sweep
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.copies import keep_bytes, store_path, surplus
from sdxl_gateway.catalog.lora_folder.sweep import FRESH_SECONDS, CopySweeper
from sdxl_gateway.config import Loras
from tests.kit.lora_files import write
from tests.kit.peft_files import GOOD, MODULES

CHECKPOINT = CheckpointEntry("demo", Path("demo"), "d" * 64, 0, MODULES, 4096, 4096)
OLD_SECONDS = 2 * FRESH_SECONDS


def put(folder: Path, content: bytes, age_seconds: float = OLD_SECONDS) -> str:
    digest = keep_bytes([content], folder)
    aged(folder, digest, age_seconds)
    return digest


def aged(folder: Path, digest: str, age_seconds: float = OLD_SECONDS) -> None:
    at = time.time() - age_seconds
    os.utime(store_path(folder, digest), (at, at))


def kept(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "adapters").iterdir()}


def sweeper(folder: Path, in_use: set[str], **limits: float) -> CopySweeper:
    return CopySweeper(folder, Loras.model_validate(limits), lambda: in_use)


async def test_the_oldest_go_that_nobody_uses(tmp_path: Path) -> None:
    oldest, used, middle, newest = (put(tmp_path, bytes([65 + i]) * 10, OLD_SECONDS + 40 - i) for i in range(4))
    assert await sweeper(tmp_path, {used}, store_max_bytes=25).sweep() == [oldest, middle]
    assert kept(tmp_path) == {used, newest}


async def test_what_is_too_old_goes_below_the_cap_too(tmp_path: Path) -> None:
    old, used, young = put(tmp_path, b"old", 9999), put(tmp_path, b"used", 9999), put(tmp_path, b"young", 700)
    assert await sweeper(tmp_path, {used}, store_seconds=5000).sweep() == [old]
    assert kept(tmp_path) == {used, young}


async def test_fresh_copies_stay_even_above_the_cap(tmp_path: Path) -> None:
    fresh = put(tmp_path, b"x" * 100, FRESH_SECONDS / 2)
    assert await sweeper(tmp_path, set(), store_max_bytes=0).sweep() == []
    assert kept(tmp_path) == {fresh}


async def test_a_copy_taken_up_while_the_sweep_looks_around_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, in_use = put(tmp_path, b"x"), set[str]()
    looking, go_on = threading.Event(), threading.Event()

    def slow(*said: Any, **more: Any) -> list[Path]:
        found = surplus(*said, **more)
        looking.set()
        assert go_on.wait(30)
        return found

    monkeypatch.setattr(sweep, "surplus", slow)
    sweeping = asyncio.create_task(sweeper(tmp_path, in_use, store_max_bytes=0).sweep())
    assert await asyncio.to_thread(looking.wait, 30)
    in_use.add(digest)
    go_on.set()
    assert await sweeping == []
    assert kept(tmp_path) == {digest}


async def test_it_goes_on_sweeping(tmp_path: Path) -> None:
    put(tmp_path, b"first")
    task = asyncio.create_task(sweeper(tmp_path, set(), store_max_bytes=0).sweeping(every_seconds=0.01))
    async with asyncio.timeout(30):
        while kept(tmp_path):  # noqa: ASYNC110 - there is nothing to wait on but the folder
            await asyncio.sleep(0.01)
        put(tmp_path, b"second")
        while kept(tmp_path):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()


async def test_a_store_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert await sweeper(tmp_path / "none", set()).sweep() == []


async def test_what_was_checked_in_lately_is_about_to_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "loras" / "ink.safetensors", GOOD)
    catalog = LoraCatalog(Loras(directory=tmp_path / "loras"), tmp_path)
    catalog.scan()
    digest = (await catalog.check_in("ink", CHECKPOINT)).digest
    aged(tmp_path, digest)
    sweeping = CopySweeper(tmp_path, Loras(store_max_bytes=0), lambda: catalog.lately_checked_in)
    assert await sweeping.sweep() == []
    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.checks.LATELY_SECONDS", 0.0)
    assert await sweeping.sweep() == [digest]
    assert (await catalog.check_in("ink", CHECKPOINT)).digest == digest
    assert kept(tmp_path) == {digest}
