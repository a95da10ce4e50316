"""diffusers and PEFT, given a converted file, put on exactly what the kohya file says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sdxl_gateway.catalog.lora_format.convert import convert_file
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_MODEL, HeaderCaps
from tests.kit.lora_files import kohya_name

SHAPES = module_shapes(DEMO_MODEL)
MODULES = [name for name in SHAPES if name.startswith("unet.") and (".attentions." in name or ".resnets." in name)]
MODULES = [name for name in MODULES if len(SHAPES[name]) > 1 and "time_emb" not in name][::5]
ALPHA = 3.0


def kohya_tensors(dora: bool) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    tensors = {}
    for i, module in enumerate(MODULES):
        weight, name, rank = SHAPES[module], kohya_name(module), 4 if i % 2 else 8
        tensors[f"{name}.lora_down.weight"] = torch.randn(rank, *weight[1:], generator=random) * 0.1
        ones = [1 for _ in weight[2:]]
        tensors[f"{name}.lora_up.weight"] = torch.randn(weight[0], rank, *ones, generator=random) * 0.1
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
        if dora:
            tensors[f"{name}.dora_scale"] = torch.rand(weight[0], 1, *ones, generator=random) + 0.5
    return tensors


def wanted(tensors: dict[str, torch.Tensor], module: str, pristine: torch.Tensor) -> torch.Tensor:
    """The weight that the kohya file means."""
    name = kohya_name(module)
    up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
    rows = pristine.flatten(1) + ALPHA / down.shape[0] * (up.flatten(1) @ down.flatten(1))
    if (magnitude := tensors.get(f"{name}.dora_scale")) is not None:
        rows = rows * (magnitude.flatten() / rows.norm(dim=1))[:, None]
    return rows.view_as(pristine)


@pytest.mark.parametrize("dora", [False, True], ids=["LoRA", "DoRA"])
def test_diffusers_merges_what_the_kohya_file_says(tmp_path: Path, dora: bool) -> None:
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

    tensors = kohya_tensors(dora)
    save_file(tensors, tmp_path / "kohya.safetensors")
    made = convert_file(tmp_path / "kohya.safetensors", SHAPES, HeaderCaps())
    (tmp_path / "peft.safetensors").write_bytes(b"".join(made))
    state, metadata = StableDiffusionXLPipeline.lora_state_dict(
        tmp_path, weight_name="peft.safetensors", local_files_only=True, use_safetensors=True, return_lora_metadata=True
    )[::2]
    unet = UNet2DConditionModel.from_pretrained(DEMO_MODEL / "unet", local_files_only=True, torch_dtype=torch.float32)
    pristine = {name: weight.clone() for name, weight in unet.state_dict().items()}
    unet.load_lora_adapter(state, prefix="unet", metadata=metadata)
    unet.fuse_lora()
    for module in MODULES:
        inner = module.removeprefix("unet.")
        merged = unet.get_submodule(inner).base_layer.weight
        torch.testing.assert_close(merged, wanted(tensors, module, pristine[f"{inner}.weight"]), atol=1e-6, rtol=1e-5)
