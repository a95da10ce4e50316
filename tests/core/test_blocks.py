"""Tests core/blocks.py: layers are in the blocks that the UNet's original names say, and both forms mean the same."""

from __future__ import annotations

import re

import pytest

from sdxl_gateway.catalog.lora_format.module_names import sgm_names
from sdxl_gateway.core.blocks import BASE, BLOCKS, block_of, every_block
from tests.kit.admission import demo

NUMBERED = re.compile(r"(input|output)_blocks\.(\d+)\.")


def block_by_original_name(name: str) -> str | None:
    if name.startswith("middle_block."):
        return "M00"
    match = NUMBERED.match(name)
    return f"{'IN' if match[1] == 'input' else 'OUT'}{int(match[2]):02}" if match else None


def test_every_layer_is_in_the_block_of_its_original_name() -> None:
    inner = [name.removeprefix("unet.") for name in demo().shapes if name.startswith("unet.")]
    found = {name: block_by_original_name(original) for name, original in sgm_names(inner)}
    assert set(found.values()) == {None, *BLOCKS}
    for name, block in found.items():
        at = block_of(f"unet.{name}.weight")
        assert (None if at is None else BLOCKS[at]) == block, name


@pytest.mark.parametrize(
    "layer", ["text_encoder.text_model.embeddings.weight", "unet.down_blocks.3.resnets.0.conv1.weight", "unet.x"]
)
def test_other_layers_are_in_no_block(layer: str) -> None:
    assert block_of(layer) is None


def test_twelve_numbers_are_those_of_the_blocks_with_attention() -> None:
    short = every_block(range(1, 13))
    assert short is not None
    named = {block: int(value) for block, value in zip((BASE, *BLOCKS), short, strict=True) if value}
    assert named == {
        "BASE": 1,
        "IN04": 2,
        "IN05": 3,
        "IN07": 4,
        "IN08": 5,
        "M00": 6,
        "OUT00": 7,
        "OUT01": 8,
        "OUT02": 9,
        "OUT03": 10,
        "OUT04": 11,
        "OUT05": 12,
    }


def test_twenty_numbers_are_those_of_all_blocks() -> None:
    assert every_block(range(20)) == tuple(map(float, range(20)))


@pytest.mark.parametrize("count", [0, 1, 11, 13, 17, 19, 21, 26])
def test_other_counts_are_no_block_weights(count: int) -> None:
    assert every_block([1.0] * count) is None
