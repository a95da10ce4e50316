"""Takes a module, quantises the weights of its repeated blocks to one byte a number, with one scale for each row.

A layer dequantises its weight at each call. The checkpoint's own weights stay in host memory: blends are summed on
those and rounded once. Summed on the quantised ones, a LoRA would all but vanish, since most of its changes are smaller
than half a step of the coarse format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MethodType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALE = "weight_scale"
ORIGINAL = "weight_original"

WeightFormat = Literal["native", "fp8", "int8"]


@dataclass(frozen=True, slots=True)
class Format:
    """A one-byte number format and the largest number a row is scaled to."""

    dtype: torch.dtype
    largest: float


@dataclass(frozen=True, slots=True)
class QuantisedWeight:
    """The scales of a one-byte weight's rows, and its `original` values, (rows, columns), in host memory."""

    scale: Tensor
    original: Tensor


FORMATS = {"int8": Format(torch.int8, 127.0), "fp8": Format(torch.float8_e4m3fn, 448.0)}
_BY_DTYPE = {one.dtype: one for one in FORMATS.values()}


@torch.inference_mode(False)
@torch.no_grad()
def quantise(module: nn.Module, wanted: str, device: torch.device, home: torch.device, dtype: torch.dtype) -> None:
    """Quantise linear and convolution weights inside the module's lists of blocks to `wanted`, a key of FORMATS.

    Layers before and after the blocks are small, and sensitive; layers quantised already (fp8_products.py) stay so.
    Numbers are computed on `device`, as blends are, and stored on `home`; layers compute in `dtype`.
    """
    chosen = FORMATS[wanted].dtype
    for layer in _inside_blocks(module):
        if not hasattr(layer, ORIGINAL):
            keep_rounded(layer, _FORWARDS[type(layer)], chosen, dtype, device, home)


def keep_rounded(
    layer: nn.Linear | nn.Conv2d,
    forward: Callable[..., Tensor],
    numbers: torch.dtype,
    scales: torch.dtype,
    device: torch.device,
    home: torch.device,
) -> None:
    """Replace the layer's weight by one-byte numbers with a scale for each row, and its forward by `forward`.

    Call it without gradients. The original weight stays in host memory, for blends to be summed on.
    """
    original = layer.weight.detach()
    matrix = original.reshape(original.shape[0], -1)
    rows, scale = rounded(matrix.to(device, torch.float32), numbers, scales)
    layer.weight = nn.Parameter(rows.to(home).view(original.shape), requires_grad=False)
    layer.register_buffer(SCALE, scale.to(home).view(-1, *[1] * (original.dim() - 1)), persistent=False)
    setattr(layer, ORIGINAL, matrix)
    # An attribute of the instance, as in `upcast`, of one function for all layers, so that compiled code is shared.
    setattr(layer, "forward", MethodType(forward, layer))  # noqa: B010


def quantised_weight(layer: nn.Module, parameter: nn.Parameter) -> QuantisedWeight | None:
    """What belongs to the `parameter`; None if it is not a one-byte weight of the layer."""
    if not hasattr(layer, ORIGINAL) or parameter is not layer.weight:
        return None
    return QuantisedWeight(layer.get_buffer(SCALE), getattr(layer, ORIGINAL))


def rounded(
    matrix: Tensor, numbers: torch.dtype, scales: torch.dtype, *, used_up: bool = False
) -> tuple[Tensor, Tensor]:
    """(rows, columns) float32 as numbers of a one-byte format and (rows, 1) scales, each rounded once.

    The error is at most half a step: 1/254 of the row's largest weight in int8, a sixteenth of the weight in fp8. fp8
    scales are powers of two, so that a checkpoint published in fp8 keeps its numbers. With `used_up` the matrix itself
    is overwritten as scratch memory.
    """
    largest = _BY_DTYPE[numbers].largest
    scale = torch.linalg.vector_norm(matrix, torch.inf, dim=1, keepdim=True) / largest
    if numbers.is_floating_point:
        scale = torch.ldexp(torch.ones_like(scale), torch.frexp(scale).exponent)
    scale = scale.to(scales)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    units = torch.div(matrix, scale.float(), out=matrix if used_up else None).clamp_(-largest, largest)
    return (units if numbers.is_floating_point else units.round_()).to(numbers), scale


def widened(numbers: Tensor, scale: Tensor) -> Tensor:
    """Dequantised weights, in the scales' dtype."""
    # int8 times float promotes in one pass over memory; torch has no such product for 8-bit floats.
    return scale * (numbers.to(scale.dtype) if numbers.is_floating_point() else numbers)


def _inside_blocks(module: nn.Module) -> Iterator[nn.Linear | nn.Conv2d]:
    lists = [one for one in module.modules() if isinstance(one, nn.ModuleList)]
    inside = {id(layer): layer for blocks in lists for layer in blocks.modules()}
    return (layer for layer in inside.values() if isinstance(layer, nn.Linear | nn.Conv2d))


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    scale = layer.get_buffer(SCALE)
    return functional.linear(x.to(scale.dtype), widened(layer.weight, scale), _bias(layer, scale))


def _conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
    scale = layer.get_buffer(SCALE)
    output: Tensor = layer._conv_forward(x.to(scale.dtype), widened(layer.weight, scale), _bias(layer, scale))
    return output


def _bias(layer: nn.Linear | nn.Conv2d, scale: Tensor) -> Tensor | None:
    return None if layer.bias is None else layer.bias.to(scale.dtype)


_FORWARDS: dict[type[nn.Module], Callable[..., Tensor]] = {nn.Linear: _linear, nn.Conv2d: _conv}
