"""Takes a merge kernel, verifies that for a small layer of every group it writes what torch computes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sdxl_gateway.engine.lora.delta import Delta, Lora
from sdxl_gateway.engine.lora.layers import Layer
from sdxl_gateway.engine.lora.table import DTYPES, PRISTINE, Kernel, Part, layer_row, merge_table, share_row

STRENGTH_TRIED = 0.75


def prove(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> None:
    """One merge of all groups, which also compiles their kernels. Raises AssertionError for wrong results."""
    samples = list(_samples(device, dtype))
    rows, shares = [], []
    for layer, delta in samples:
        row, share = layer_row(layer), share_row(delta, device)
        if row is None or share is None:
            raise AssertionError("a layer that the kernel should take was refused")
        row[PRISTINE] = layer.untouched.data_ptr()
        rows.append(row)
        shares.append(share)
    at, strengths = np.arange(len(samples)), np.full(len(samples), STRENGTH_TRIED)
    part = Part(at, np.array(shares, dtype=np.int64), strengths)
    kernel(merge_table(np.array(rows, dtype=np.int64), [part], dtype, pin=device.type == "cuda"), device)
    for layer, delta in samples:
        pristine = layer.untouched.float()
        expected = pristine + STRENGTH_TRIED * delta.dense(pristine)
        torch.testing.assert_close(layer.parameter.float(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-5)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[Layer, Delta]]:
    """A LoRA of each number format, then one of a rank, and one of a layer, that vector loads do not fit."""
    formats = [(factors, 8, 96) for factors in DTYPES]
    for factors, rank, columns in (*formats, (torch.float16, 3, 96), (torch.float16, 8, 35)):
        layer = Layer("sample", _numbers(80, columns, dtype, device), device)
        layer.pristine = layer.parameter.clone()
        yield layer, Lora(_numbers(80, rank, factors, device), _numbers(rank, columns, factors, device), None, -0.5)


def _numbers(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Deterministic, as drawing random numbers here could change pictures' own."""
    count = torch.arange(rows * columns, device=device, dtype=torch.float32)
    return count.mul_(0.7).sin_().view(rows, columns).to(dtype)
