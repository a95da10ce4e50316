"""Products in 8-bit floats: their error, that blends reach them, and what they ask of a device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.blends import Blender, Factors, random_unet
from sdxl_gateway.engine.lora.layers import layers_of, restore
from sdxl_gateway.engine.memory.fp8_products import multiply_in_fp8, scaled
from sdxl_gateway.engine.memory.quantised import SCALE, widened
from sdxl_gateway.scheduling.weight_sizes import multiplies_in_fp8, sizes_of
from tests.kit.launches import Launches
from tests.kit.sdxl_shapes import sdxl_shapes
from tools.full_size_model import UNET

CPU, META = torch.device("cpu"), torch.device("meta")
ERROR = 0.045
"""Relative to a product's size: each factor's numbers are off by up to a sixteenth, by 2.7 % on average."""
SHAPES = [(640, 640), (1280, 1280), (5120, 640), (640, 2560)]


class Attention(nn.Module):
    """One layer with the name of one that multiplies in 8 bits, and one without."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.attn1 = nn.ModuleDict({"to_q": nn.Linear(inputs, outputs), "to_out": nn.Linear(inputs, outputs)})
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.03)


def linear(made: Attention, name: str = "to_q") -> nn.Linear:
    found = made.attn1[name]
    assert isinstance(found, nn.Linear)
    return found


def inputs(columns: int, rows: int = 100) -> Tensor:
    """Like activations: rows of different sizes, some outliers, and a row of zeros."""
    found = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(1))
    found *= torch.logspace(-3, 3, rows)[:, None]
    found[..., 7] *= 50
    found[:, 5] = 0
    return found


def off(found: Tensor, exact: Tensor) -> Tensor:
    """The error of each row, relative to its size."""
    far: Tensor = (found - exact).norm(dim=-1) / exact.norm(dim=-1).clamp(min=1e-30)
    return far


@pytest.mark.parametrize(("outputs", "columns"), SHAPES)
def test_a_layer_is_off_by_the_rounding_of_its_factors_and_no_more(outputs: int, columns: int) -> None:
    plain, made = Attention(outputs, columns), Attention(outputs, columns)
    multiply_in_fp8(made, CPU, CPU)
    layer, x = linear(made), inputs(columns)
    with torch.no_grad():
        found, exact = layer(x), linear(plain)(x)
        by_casts = widened(*scaled(x.flatten(0, 1))) @ widened(layer.weight, layer.get_buffer(SCALE)).t() + layer.bias
        assert torch.allclose(found.flatten(0, 1), by_casts, rtol=1e-4, atol=1e-4)
        assert off(found, exact).max() < ERROR
        assert torch.equal(linear(made, "to_out")(x), linear(plain, "to_out")(x))


def test_a_token_is_the_same_whoever_shares_the_step() -> None:
    made = Attention(64, 64)
    multiply_in_fp8(made, CPU, CPU)
    x = inputs(64)
    together = scaled(torch.cat([x[0], 1e4 * x[1]]))
    alone = scaled(x[0])
    assert all(torch.equal(a[:100].float(), b.float()) for a, b in zip(together, alone, strict=True))


def test_a_blend_is_rounded_once_in_place_and_taken_off_to_the_bit() -> None:
    made = Attention(64, 256)
    original = linear(made).weight.detach().clone()
    multiply_in_fp8(made, CPU, CPU)
    layer = layers_of({"unet": made})["unet.attn1.to_q.weight"]
    assert layer.scale is not None
    bits, addresses = (
        (layer.parameter.clone(), layer.scale.clone()),
        (layer.parameter.data_ptr(), layer.scale.data_ptr()),
    )
    delta = torch.randn(64, 256, generator=torch.Generator().manual_seed(3)) * 0.01
    layer.write(original + delta)
    found = widened(layer.parameter, layer.scale)
    assert ((found - original - delta).abs() <= (original + delta).abs() / 16 + 1e-5).all()
    restore([layer])
    assert torch.equal(layer.parameter.view(torch.uint8), bits[0].view(torch.uint8))
    assert torch.equal(layer.scale, bits[1])
    assert (layer.parameter.data_ptr(), layer.scale.data_ptr()) == addresses


@pytest.fixture(scope="module")
def calls() -> tuple[nn.Module, Launches, Launches]:
    """SDXL's real UNet without values, and what a call for a guided picture asks for in 16 bits and in 8."""
    made = random_unet(UNET, META, torch.float16)
    plain = _called(made)
    multiply_in_fp8(made, META, META)
    return made, plain, _called(made)


def test_which_layers_of_the_published_model(calls: tuple[nn.Module, Launches, Launches]) -> None:
    shapes = {name: shape for name, shape in sdxl_shapes().items() if multiplies_in_fp8(name, shape)}
    found = [name for name, module in calls[0].named_modules() if SCALE in dict(module.named_buffers(recurse=False))]
    assert {f"unet.{name}" for name in found} == set(shapes)
    assert len(found) == 420
    assert sizes_of(sdxl_shapes()).unet_products == sum(rows * columns for rows, columns in shapes.values())


def test_what_a_call_asks_of_a_device(calls: tuple[nn.Module, Launches, Launches]) -> None:
    """For each layer one product, and for its inputs a norm, a scale in two steps, a division and a cast: no wait."""
    _, plain, found = calls
    assert found.by_name["_scaled_mm"] == 420
    assert found.launches - plain.launches == 420 * 5
    assert (found.waits, found.uploads) == (0, 0)


def _called(unet: Any) -> Launches:
    found = Launches()
    texts = {"text_embeds": _half(2, 1280), "time_ids": _half(2, 6)}
    with torch.no_grad(), found:
        unet(_half(2, 4, 128, 128), _half(2), encoder_hidden_states=_half(2, 77, 2048), added_cond_kwargs=texts)
    return found


def _half(*shape: int) -> Tensor:
    return torch.empty(*shape, dtype=torch.float16, device=META)


@pytest.mark.parametrize(("loras", "launches"), [(1, 568), (3, 904)])
def test_a_switch_rounds_layers_of_one_shape_together(
    calls: tuple[nn.Module, Launches, Launches], loras: int, launches: int
) -> None:
    """Rounding each layer separately took 5,677 launches for the first, and 5,880 to remove it."""
    blender = Blender(calls[0], META, stacked=True)
    digests = [blender.give(f"LoRA {number}", Factors(META).lora(16)) for number in range(loras)]
    blender.put_on(digests)
    blender.put_on()
    on, off = Launches(), Launches()
    with on:
        blender.put_on(digests)
    with off:
        blender.put_on()
    assert (on.launches, on.waits) == (launches, 0)
    assert (off.launches, off.waits) == (379, 0)
