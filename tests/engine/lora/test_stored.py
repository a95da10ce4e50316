"""A file is planned once for each digest; a file that was removed is refused all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sdxl_gateway.catalog.lora_folder.copies import keep_copy, store_path
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.engine.lora import stored
from sdxl_gateway.engine.lora.formats import AdapterFile, lay_out
from sdxl_gateway.engine.lora.reading import read_factors
from sdxl_gateway.engine.lora.stored import stored_adapters

NAME = "unet.mid_block.attentions.0.to_q"


@pytest.fixture
def digests(tmp_path: Path) -> list[str]:
    return [_kept(tmp_path, number) for number in range(3)]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digest at each time that a file was planned."""
    found: list[str] = []
    plan = stored._plan

    def counting(path: Path, digest: str, shapes: dict[str, tuple[int, ...]], loras: Loras) -> AdapterFile:
        found.append(digest)
        return plan(path, digest, shapes, loras)

    monkeypatch.setattr(stored, "_plan", counting)
    return found


def _kept(folder: Path, number: int) -> str:
    path = folder / "written.safetensors"
    down, up = torch.full((2, 32), float(number)), torch.ones(32, 2)
    save_file({f"{NAME}.lora_A.weight": down, f"{NAME}.lora_B.weight": up}, path)
    return keep_copy(path, folder)


def test_a_digest_is_planned_once(tmp_path: Path, digests: list[str], planned: list[str]) -> None:
    open_adapter = stored_adapters(tmp_path, {NAME: (32, 32)}, Loras())
    first = [open_adapter(digest) for digest in digests]
    again = [open_adapter(digest) for digest in digests]
    assert planned == digests
    assert again == first


def test_the_plans_asked_for_last_are_kept(
    tmp_path: Path, digests: list[str], planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "KEPT_PLANS", 2)
    open_adapter = stored_adapters(tmp_path, {NAME: (32, 32)}, Loras())
    for number in (0, 1, 0, 2, 0, 1):
        open_adapter(digests[number])
    assert planned == [digests[0], digests[1], digests[2], digests[1]]


def test_a_refusal_is_not_kept(tmp_path: Path, digests: list[str], planned: list[str]) -> None:
    open_adapter = stored_adapters(tmp_path, {NAME: (64, 32)}, Loras())
    for _ in range(2):
        with pytest.raises(AdapterRefused):
            open_adapter(digests[0])
    assert planned == [digests[0]] * 2


def test_a_planned_file_that_went_is_refused_when_it_is_read(tmp_path: Path, digests: list[str]) -> None:
    open_adapter = stored_adapters(tmp_path, {NAME: (32, 32)}, Loras())
    open_adapter(digests[0])
    store_path(tmp_path, digests[0]).unlink()
    with pytest.raises(AdapterRefused, match="cannot be read"):
        read_factors(lay_out(open_adapter(digests[0])), pinned=False)
