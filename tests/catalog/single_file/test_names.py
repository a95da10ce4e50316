"""Modules of the original layout by diffusers' names; test_layout and the engine compare whole checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.single_file.families import Family
from sdxl_gateway.catalog.single_file.layout import sdxl_tensors
from sdxl_gateway.catalog.single_file.names import file_shapes, unet_modules
from sdxl_gateway.catalog.single_file.read import SingleFile
from tests.kit.lora_files import make_header


@pytest.mark.parametrize(
    ("original", "name"),
    [
        ("input_blocks.0.0", "conv_in"),
        ("input_blocks.1.0.in_layers.2", "down_blocks.0.resnets.0.conv1"),
        ("input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv"),
        ("input_blocks.4.1.proj_in", "down_blocks.1.attentions.0.proj_in"),
        ("middle_block.2.emb_layers.1", "mid_block.resnets.1.time_emb_proj"),
        (
            "output_blocks.2.1.transformer_blocks.9.ff.net.2",
            "up_blocks.0.attentions.2.transformer_blocks.9.ff.net.2",
        ),
        ("output_blocks.2.2.conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks.8.0.skip_connection", "up_blocks.2.resnets.2.conv_shortcut"),
    ],
)
def test_a_module_of_the_unet(original: str, name: str) -> None:
    names = [tensor.removeprefix("model.diffusion_model.") for tensor in sdxl_tensors()]
    assert dict(unet_modules(names))[original] == name


def test_a_unet_of_one_block() -> None:
    names = ["input_blocks.2.0.in_layers.2.weight", "output_blocks.1.0.in_layers.2.weight"]
    assert [name for _, name in unet_modules(names)] == ["down_blocks.0.resnets.1.conv1", "up_blocks.0.resnets.1.conv1"]


def test_what_has_no_name_is_left_out() -> None:
    odd = {
        f"{prefix}{name}": (2, 2)
        for prefix in ("model.diffusion_model.", "conditioner.embedders.1.model.")
        for name in (
            "input_blocks.x.0.op.weight",
            "input_blocks.²1.0.op.weight",
            "middle_block.7.weight",
            "out.9.weight",
        )
    }
    assert file_shapes(SingleFile(Path("odd.safetensors"), make_header(odd), Family.SDXL)) == {}
