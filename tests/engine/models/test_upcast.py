"""Weights kept in half precision, arithmetic in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sdxl_gateway.engine.models.upcast import upcast
from sdxl_gateway.engine.unet.calls import Call
from sdxl_gateway.engine.unet.compiled import compiled, make_of
from sdxl_gateway.engine.unet.target import CompileTarget
from tests.kit.engine import Studio, contrast, difference, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(8, 4), torch.randn(2, 8)),
        (nn.Linear(8, 4, bias=False), torch.randn(2, 8)),
        (nn.Conv2d(4, 6, 3, padding=1, stride=2), torch.randn(1, 4, 8, 8)),
        (nn.GroupNorm(2, 4), torch.randn(1, 4, 8, 8)),
        (nn.LayerNorm(8), torch.randn(2, 8)),
        (nn.LayerNorm(8, elementwise_affine=False), torch.randn(2, 8)),
        (nn.Embedding(5, 8), torch.tensor([0, 3])),
    ],
)
def test_a_layer_computes_as_if_its_weights_were_wide(layer: nn.Module, x: torch.Tensor) -> None:
    layer.bfloat16()
    weights = list(layer.parameters())
    upcast(nn.Sequential(layer), torch.float32)
    found = layer(x)
    assert [id(p) for p in layer.parameters()] == [id(p) for p in weights]
    assert all(p.dtype is torch.bfloat16 for p in weights)
    assert found.dtype is torch.float32
    layer.float()
    assert torch.equal(found, type(layer).forward(layer, x))


def test_a_checkpoint_kept_in_half_precision_paints_nearly_the_same(tmp_path: Path, fresh: Studio) -> None:
    half = studio(tmp_path, dtype="bfloat16")
    assert half.engine.dtype == "bfloat16"
    digest = admitted(write_lora(tmp_path / "a.safetensors", half.folder, 1), tmp_path)
    for wanted in (recipe(), recipe(blend=blend((digest, 0.7)))):
        ours, theirs = half.paint(wanted), fresh.paint(wanted)
        assert contrast(ours) > 20
        assert difference(ours, theirs) < contrast(theirs) / 3
    assert half.paint(recipe()) == half.paint(recipe())
    half.engine.close()


class Scaled(nn.Module):
    """Stands for a UNet in calls, with a layer in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8).half().requires_grad_(False)

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor) -> Any:
        return self.layer(latents) * timesteps


def test_code_compiled_for_one_module_fits_another() -> None:
    calls: list[int] = []

    def backend(module: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        def run(*values: torch.Tensor) -> Any:
            calls.append(1)
            return module.forward(*values)

        return run

    modules, inputs = [Scaled(), Scaled()], (torch.randn(1, 8), torch.ones(1))
    for module in modules:
        upcast(module, torch.float32)
    call = Call.of(*inputs, {})
    assert call is not None
    code = compiled(CompileTarget.of_unet(modules[0], call), backend)
    assert make_of(modules[0]) == make_of(modules[1]) != make_of(Scaled())
    for module in modules:
        assert torch.equal(code(module, *inputs), module(*inputs))
    assert len(calls) == 3
