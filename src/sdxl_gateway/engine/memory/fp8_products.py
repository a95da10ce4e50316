"""Takes a UNet, makes its large linear layers multiply in fp8, which Ada and Hopper do twice as fast as in 16 bits.

Both factors are e4m3 with a scale for each row: weights are quantised when written, inputs at each call, on the device.
A row of inputs is one token of one picture, so no picture's numbers depend on the others in its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdxl_gateway.engine.memory.quantised import FORMATS, SCALE, keep_rounded
from sdxl_gateway.scheduling.weight_sizes import multiplies_in_fp8

E4M3 = FORMATS["fp8"]
SMALLEST_SCALE = torch.finfo(torch.float32).tiny
"""Keeps a row of zeros from being divided by zero."""


@torch.inference_mode(False)
@torch.no_grad()
def multiply_in_fp8(unet: nn.Module, device: torch.device, home: torch.device) -> None:
    """Weights are quantised on `device` and stored on `home`; the originals stay in host memory for blends."""
    for name, layer in unet.named_modules():
        if isinstance(layer, nn.Linear) and multiplies_in_fp8(name, tuple(layer.weight.shape)):
            keep_rounded(layer, product, E4M3.dtype, torch.float32, device, home)


def product(layer: nn.Linear, x: Tensor) -> Tensor:
    """(..., inputs) to (..., outputs): the layer's own forward, but for the rounding of both factors."""
    numbers, scale = scaled(x.reshape(-1, x.shape[-1]))
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    weight, weight_scale = layer.weight.t(), layer.get_buffer(SCALE).t()
    output = torch._scaled_mm(numbers, weight, scale, weight_scale, bias=bias, out_dtype=x.dtype, use_fast_accum=True)
    return output.view(*x.shape[:-1], layer.out_features)


def scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, columns) as e4m3 numbers and (rows, 1) float32 scales that map each row's largest to e4m3's largest."""
    largest = torch.linalg.vector_norm(rows, torch.inf, dim=1, keepdim=True, dtype=torch.float32)
    scale = (largest / E4M3.largest).clamp(min=SMALLEST_SCALE)
    return (rows / scale).to(E4M3.dtype), scale
