"""One-byte weights: their largest error, that blends are rounded once, and that the original weights come back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sdxl_gateway.engine.lora.layers import Layer, layers_of, restore
from sdxl_gateway.engine.memory.quantised import FORMATS, quantise, rounded, widened

CPU = torch.device("cpu")
HALF_STEP = {"int8": 1 / 254, "fp8": 1 / 16}


def _weights(rows: int = 64, columns: int = 256, seed: int = 0) -> Tensor:
    """Like SDXL's: small, with a few rows of other sizes, one of them all zero."""
    found = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 0.03
    found[1] *= 100
    found[2] *= 1e-3
    found[3] = 0
    return found


def _bound(matrix: Tensor, wanted: str) -> Tensor:
    """Half a step: for int8 relative to the row's largest; for fp8 to the number itself, or its smallest step."""
    largest = matrix.abs().amax(dim=1, keepdim=True)
    if wanted == "int8":
        return (largest * HALF_STEP[wanted]).expand_as(matrix)
    return torch.maximum(matrix.abs() * HALF_STEP[wanted], largest / 224 * 2**-10)


@pytest.mark.parametrize("scales", [torch.float32, torch.float16])
def test_a_checkpoint_in_fp8_keeps_its_numbers(scales: torch.dtype) -> None:
    published = _weights().to(torch.float8_e4m3fn).float()
    assert torch.equal(widened(*rounded(published, torch.float8_e4m3fn, scales)).float(), published)


class Blocks(nn.Module):
    """Layers before, in and after a list of blocks, as in a UNet."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.before = nn.Conv2d(4, 8, 3, padding=1)
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1, bias=False)])
        self.after = nn.Linear(8, 8)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.after(x.mean(dim=(2, 3)))
        return found


@pytest.mark.parametrize("scales", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", FORMATS)
def test_a_weight_is_off_by_half_a_step_at_most(wanted: str, scales: torch.dtype) -> None:
    matrix = _weights()
    numbers, scale = rounded(matrix, FORMATS[wanted].dtype, scales)
    assert (numbers.dtype, numbers.element_size(), scale.dtype) == (FORMATS[wanted].dtype, 1, scales)
    off = (widened(numbers, scale).float() - matrix).abs()
    # Scales and products are also rounded to their own format, and scales of tiny rows to its smallest steps.
    limits = torch.finfo(scales)
    narrow = (
        limits.eps * matrix.abs().amax(dim=1, keepdim=True)
        + FORMATS[wanted].largest * limits.smallest_normal * limits.eps
    )
    assert (off <= _bound(matrix, wanted) * (1 + 1e-3) + narrow).all()
    assert (off[3] == 0).all()


@pytest.mark.parametrize("wanted", FORMATS)
def test_layers_inside_blocks_are_kept_in_one_byte_and_compute_with_what_that_stands_for(wanted: str) -> None:
    plain, made, x = Blocks(), Blocks(), torch.randn(2, 4, 8, 8)
    quantise(made, wanted, CPU, CPU, torch.float32)
    assert {name for name, one in made.named_parameters() if one.dtype is not torch.float32} == {
        "blocks.0.weight",
        "blocks.1.weight",
    }
    with torch.no_grad():
        for name, buffer in made.named_buffers():
            path = name.replace("weight_scale", "weight")
            plain.get_parameter(path).copy_(widened(made.get_parameter(path), buffer))
        assert torch.equal(made(x), plain(x))


def _changed(layer: Layer, delta: Tensor) -> Tensor:
    layer.write(layer.untouched.float() + delta)
    return _read(layer)


def _read(layer: Layer) -> Tensor:
    assert layer.scale is not None
    return widened(layer.parameter, layer.scale).reshape(layer.shape).float()


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_blend_is_rounded_once_from_the_checkpoints_own_weights(wanted: str) -> None:
    module = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(256, 64, bias=False)])})
    module.get_submodule("blocks.0").weight = nn.Parameter(_weights(), requires_grad=False)
    quantise(module, wanted, CPU, CPU, torch.float32)
    layer = layers_of({"unet": module})["unet.blocks.0.weight"]
    assert layer.scale is not None
    bits, scales = layer.parameter.clone(), layer.scale.clone()
    base = _read(layer)
    for seed in (1, 2, 3):
        delta = _weights(seed=seed) * 0.1
        wanted_weights = _weights() + delta
        assert ((_changed(layer, delta) - wanted_weights).abs() <= _bound(wanted_weights, wanted) * 1.001 + 1e-7).all()
    restore([layer])
    assert torch.equal(_read(layer), base)
    assert torch.equal(layer.parameter.view(torch.uint8), bits.view(torch.uint8))
    assert layer.scale is not None
    assert torch.equal(layer.scale, scales)


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_change_smaller_than_a_step_is_not_rounded_away(wanted: str) -> None:
    """Nearly all of a small LoRA's change remains, but next to nothing if weights were rounded before."""
    module = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(1024, 512, bias=False)])})
    generator = torch.Generator().manual_seed(4)
    original = torch.randn(512, 1024, generator=generator) * 0.03
    delta = torch.randn(512, 1024, generator=generator) * 1e-5
    module.get_submodule("blocks.0").weight = nn.Parameter(original, requires_grad=False)
    quantise(module, wanted, CPU, CPU, torch.float32)
    layer = layers_of({"unet": module})["unet.blocks.0.weight"]
    base = _read(layer)
    assert _arrived(_changed(layer, delta) - base, delta) == pytest.approx(1.0, abs=0.15)
    layer.write(base + delta)
    assert _arrived(_read(layer) - base, delta) < 0.15


def _arrived(found: Tensor, delta: Tensor) -> float:
    return float((found * delta).sum() / (delta * delta).sum())
