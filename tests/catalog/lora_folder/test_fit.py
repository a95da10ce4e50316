"""What cannot be used is no LoRA from the first look on: decided from headers, remembered, and told to who asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder import fit
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_format.plan import LoraPlan, plan_lora
from sdxl_gateway.catalog.safetensors_header import Header
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused, ModelNotFound
from tests.kit.lora_files import file_bytes, lora_tensors, write
from tests.kit.peft_files import GOOD, MODULES, OTHER, names

SMALL = CheckpointEntry("small", Path("small"), "a" * 64, 0, MODULES, 4096, 4096)
WIDE_MODULES = {"unet.mid_block.q": (64, 32)}
WIDE = CheckpointEntry("wide", Path("wide"), "b" * 64, 0, WIDE_MODULES, 4096, 4096)
FOR_WIDE = file_bytes(lora_tensors(WIDE_MODULES))
GLORA = file_bytes({f"lora_unet_mid_block_q.{role}.weight": (4, 16) for role in ("a1", "a2", "b1", "b2")})
SD1 = file_bytes(
    {
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768),
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (320, 4),
    }
)
FLUX = file_bytes({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 3072)})
UNKNOWN = file_bytes({"lora_unet_mid_block_q.of_a_kind_to_come": (4, 16)})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "loras"
    folder.mkdir()
    return folder


def scanned(root: Path, *checkpoints: CheckpointEntry, **limits: Any) -> LoraCatalog:
    catalog = LoraCatalog(Loras(directory=root, **limits), root.parent / "data", checkpoints=checkpoints)
    catalog.scan()
    return catalog


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GLORA, "of the kind GLoRA, which is not supported"),
        (SD1, "made for Stable Diffusion 1.x, not for this checkpoint"),
        (FLUX, "made for Flux, not for this checkpoint"),
        (UNKNOWN, "Nothing in this file fits the checkpoint"),
        (FOR_WIDE, "in this checkpoint it is 32x16"),
    ],
)
def test_what_fits_nothing_is_a_problem_with_its_reason(root: Path, data: bytes, reason: str) -> None:
    write(root / "sets" / "odd.safetensors", data)
    write(root / "ink.safetensors", GOOD)
    catalog = scanned(root, SMALL)
    assert names(catalog) == ["ink"]
    (problem,) = catalog.problems
    assert (problem.name, problem.file, problem.code) == ("sets/odd", "sets/odd.safetensors", "invalid_lora")
    assert reason in problem.message
    for asked in ("sets/odd", "odd", "ODD", "odd.safetensors", "sets/odd.safetensors"):
        with pytest.raises(AdapterRefused) as refused:
            catalog.find(asked)
        assert refused.value.message == problem.message


def test_one_checkpoint_that_takes_it_is_enough(root: Path) -> None:
    write(root / "wide.safetensors", FOR_WIDE)
    assert names(scanned(root, SMALL, WIDE)) == ["wide"]
    assert names(scanned(root, SMALL)) == []


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Header]:
    """The headers judged so far."""
    seen: list[Header] = []

    def counted(header: Header, shapes: Mapping[str, tuple[int, ...]]) -> LoraPlan:
        seen.append(header)
        return plan_lora(header, shapes)

    monkeypatch.setattr(fit, "plan_lora", counted)
    return seen


def test_a_verdict_is_remembered_over_a_restart(root: Path, planned: list[Header]) -> None:
    for name, data in {"ink": GOOD, "odd": GLORA, "cut": GOOD[:-1]}.items():
        os.utime(write(root / f"{name}.safetensors", data), (1, 1))
    first = scanned(root, SMALL, replace(SMALL, name="twin", digest="c" * 64))
    assert len(planned) == 2
    again = scanned(root, SMALL, replace(SMALL, name="twin", digest="c" * 64))
    assert len(planned) == 2
    assert (names(again), again.problems) == (names(first), first.problems)


def test_a_verdict_holds_for_the_checkpoints_it_was_made_for(root: Path, planned: list[Header]) -> None:
    os.utime(write(root / "wide.safetensors", FOR_WIDE), (1, 1))
    assert names(scanned(root, SMALL)) == []
    assert names(scanned(root, WIDE)) == ["wide"]
    assert names(scanned(root, SMALL)) == []
    assert len(planned) == 3


def test_a_verdict_holds_while_the_limits_do(root: Path) -> None:
    os.utime(write(root / "ink.safetensors", GOOD), (1, 1))
    assert names(scanned(root, SMALL, max_file_bytes=len(GOOD) - 1)) == []
    assert names(scanned(root, SMALL, max_file_bytes=len(GOOD))) == ["ink"]


async def test_a_file_that_changed_since_the_last_look_is_judged_anew(root: Path) -> None:
    write(root / "ink.safetensors", GOOD)
    catalog = scanned(root, SMALL)
    write(root / "new", GLORA).replace(root / "ink.safetensors")
    with pytest.raises(AdapterRefused, match="GLoRA"):
        await catalog.check_in("ink", SMALL)
    assert not (root.parent / "data" / "adapters").exists()


async def test_the_extension_may_be_in_capitals(root: Path) -> None:
    write(root / "INK.SAFETENSORS", GOOD)
    write(root / "INK.toml", b"weight = 0.5")
    write(root / "pen.SafeTensors", OTHER)
    catalog = scanned(root, SMALL)
    assert (names(catalog), catalog.problems) == (["INK", "pen"], ())
    assert catalog.find("ink.safetensors").defaults.weight == 0.5
    assert (await catalog.check_in("ink", SMALL)).report.matched_count == 6


async def test_an_upload_may_name_its_extension_in_capitals(root: Path) -> None:
    entry = await scanned(root, SMALL).add("ink.SAFETENSORS", GOOD, checkpoint=SMALL)
    assert (entry.name, entry.path) == ("ink", root / "ink.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".PT"])
def test_other_weights_are_never_opened_and_say_why(root: Path, suffix: str) -> None:
    place = f"sets/ink{suffix}"
    (root / "sets").mkdir()
    os.mkfifo(root / place)
    catalog = scanned(root, SMALL)
    (problem,) = catalog.problems
    assert (names(catalog), problem.name, problem.file, problem.code) == ([], "sets/ink", place, "invalid_lora")
    assert problem.message == (
        f"Files that end in {suffix} are never opened, as they may run code; save the LoRA as .safetensors."
    )
    for asked in ("ink", "sets/ink", f"ink{suffix}", place):
        with pytest.raises(AdapterRefused, match="never opened"):
            catalog.find(asked)


def test_a_usable_file_goes_before_others_of_its_name(root: Path) -> None:
    write(root / "ink.safetensors", GOOD)
    write(root / "ink.bin", GOOD)
    write(root / "bad" / "ink.safetensors", GLORA)
    catalog = scanned(root, SMALL)
    assert catalog.find("ink").name == "ink"
    with pytest.raises(AdapterRefused, match="GLoRA"):
        catalog.find("bad/ink")


@pytest.mark.parametrize(
    ("file", "asked"), [("a+b", "a+b"), ("sets/a+b", "a+b"), ("ink:0.8", "ink:0.8"), ("ink:0.8", "ink")]
)
def test_a_file_whose_name_means_something_else_says_so(root: Path, file: str, asked: str) -> None:
    write(root / f"{file}.safetensors", GOOD)
    with pytest.raises(AdapterRefused, match="rename it"):
        scanned(root, SMALL).find(asked)


def test_what_is_not_there_is_unknown_still(root: Path) -> None:
    write(root / "a+b.safetensors", GOOD)
    catalog = scanned(root, SMALL)
    for asked in ("a", "b", "nope"):
        with pytest.raises(ModelNotFound):
            catalog.find(asked)
    catalog.explain("demo+a")
    with pytest.raises(AdapterRefused, match="'a\\+b' cannot be used"):
        catalog.explain("demo+A+B:0.5+c")
