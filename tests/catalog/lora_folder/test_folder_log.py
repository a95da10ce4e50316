"""The log tells which models came, changed and went in a watched folder, and what cannot be used there, each once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.folder_log import MAX_NAMES, FolderLog
from sdxl_gateway.catalog.lora_folder.scan import Problem
from sdxl_gateway.config import Loras
from tests.kit.lora_files import write
from tests.kit.peft_files import GOOD, OTHER

HALF = Problem("half", "The file is cut short.", "half.safetensors")


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_what_came_changed_and_went_is_named(caplog: pytest.LogCaptureFixture) -> None:
    log = FolderLog("LoRA folder")
    log.tell({"ink": 1, "oil": 1}, ())
    assert caplog.messages == []
    log.tell({"ink": 2, "chalk": 1, "ash": 1}, ())
    assert caplog.messages == ["LoRA folder: new: ash, chalk", "LoRA folder: replaced: ink", "LoRA folder: gone: oil"]


def test_what_cannot_be_used_is_told_once_and_from_the_first_look_on(caplog: pytest.LogCaptureFixture) -> None:
    log = FolderLog("LoRA folder")
    for problems in ((HALF,), (HALF,), (), (HALF,)):
        log.tell({}, problems)
    assert caplog.messages == ["LoRA folder: half.safetensors: The file is cut short."] * 2


def test_a_side_car_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    FolderLog("LoRA folder").tell({}, [Problem("a/ink", "ink.toml: unknown key 'wieght'.", "a/ink.toml")])
    assert caplog.messages == ["LoRA folder: a/ink.toml: unknown key 'wieght'."]


def test_a_library_that_is_copied_in_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    log = FolderLog("LoRA folder")
    log.tell({}, ())
    log.tell({f"{i:04}": i for i in range(1000)}, ())
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith(f"{MAX_NAMES - 1:04} and {1000 - MAX_NAMES} more")


async def test_a_catalog_tells_what_it_sees(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "loras"
    write(root / "ink.safetensors", GOOD)
    catalog = LoraCatalog(Loras(directory=root), tmp_path)
    await catalog.refresh()
    write(root / "oil.safetensors", OTHER)
    write(root / "half.safetensors", GOOD[:100])
    await catalog.refresh()
    assert caplog.messages[0] == "LoRA folder: new: oil"
    assert caplog.messages[1].startswith("LoRA folder: half.safetensors: ")
