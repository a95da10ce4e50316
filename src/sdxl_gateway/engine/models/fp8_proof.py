"""Takes a device and a number format, refuses fp8 products that are not available there, or not correct."""

from __future__ import annotations

import torch
from torch import nn

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.device import card_name
from sdxl_gateway.engine.memory.fp8_products import E4M3, product, scaled
from sdxl_gateway.engine.memory.quantised import SCALE, keep_rounded, widened
from sdxl_gateway.telemetry.device import why_no_fp8_products


def refuse_unable(device: torch.device, dtype: torch.dtype) -> None:
    """Raises CheckpointProblem for a device without fp8 products, or inputs of a format that they do not take."""
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    reason = why_no_fp8_products(f"the {card_name(device)}" if capability else device.type, capability)
    if reason is None and dtype is torch.float32:
        reason = "memory.products is 'fp8', whose sums leave in 16 bits: engine.dtype cannot be 'float32'."
    if reason is not None:
        raise CheckpointProblem(reason)
    try:
        prove(device, dtype)
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0]
        raise CheckpointProblem(f"memory.products is 'fp8', which torch cannot compute here: {first_line}") from error


@torch.inference_mode(False)
@torch.no_grad()
def prove(device: torch.device, dtype: torch.dtype) -> None:
    """Raises RuntimeError unless a product is that of the numbers to which both factors are rounded."""
    layer = nn.Linear(64, 32).to(device, dtype)
    keep_rounded(layer, product, E4M3.dtype, torch.float32, device, device)
    x = torch.linspace(-1, 1, 40 * 64, device=device).view(40, 64).to(dtype)
    inputs, weight = widened(*scaled(x)), widened(layer.weight, layer.get_buffer(SCALE))
    expected = inputs @ weight.t() + layer.bias.float()
    if not torch.allclose(layer(x).float(), expected, rtol=0.02, atol=0.02):
        raise RuntimeError("its products are wrong")
