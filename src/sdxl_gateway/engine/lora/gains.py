"""Takes DoRA changes and their layers, gives their gains in one tensor; layers of one shape are computed together.

Gains depend on the pristine weights only, not on the blend that is on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sdxl_gateway.engine.lora.delta import Dora, Lora
from sdxl_gateway.engine.lora.layers import Layer

STACK_BYTES = 256 * 2**20
Decomposed = tuple[Layer, Dora]


def gains_of(decomposed: Sequence[Decomposed]) -> Tensor:
    """One after the other in the order given, float32, on the first layer's device."""
    sizes = [delta.magnitude.numel() for _, delta in decomposed]
    all_gains = torch.empty(sum(sizes), dtype=torch.float32, device=decomposed[0][0].device)
    parts = torch.split(all_gains, sizes)
    for at in _stacks(decomposed):
        alike = [decomposed[i] for i in at]
        gains = list(_stacked_gains(alike)) if len(at) > 1 else [_gain(*alike[0])]
        torch._foreach_copy_([parts[i] for i in at], gains)
    return all_gains


def _stacks(decomposed: Sequence[Decomposed]) -> Iterator[list[int]]:
    """Indices of plain LoRAs of one shape and rank, as many as fit into STACK_BYTES in float32; others one by one."""
    kinds: defaultdict[object, list[int]] = defaultdict(list)
    for i, (layer, delta) in enumerate(decomposed):
        inner = delta.inner
        plain = delta.by_row and isinstance(inner, Lora) and inner.mid is None
        kinds[(layer.shape, inner.down.shape[0]) if plain and isinstance(inner, Lora) else i].append(i)
    for alike in kinds.values():
        length = max(1, STACK_BYTES // (4 * decomposed[alike[0]][0].parameter.numel()))
        yield from (alike[start : start + length] for start in range(0, len(alike), length))


def _stacked_gains(alike: Sequence[Decomposed]) -> Tensor:
    """(layers, rows): `Dora.gain` of each, for plain LoRAs with a magnitude for each row."""
    factors = [delta.inner for _, delta in alike if isinstance(delta.inner, Lora)]
    merged = torch.stack([_pristine(layer) for layer, _ in alike]).float()
    ups = torch.stack([one.up for one in factors]).float()
    torch._foreach_mul_(list(ups.unbind(0)), [one.scale for one in factors])
    merged.baddbmm_(ups, torch.stack([one.down for one in factors]).float())
    norms = torch.linalg.vector_norm(merged, dim=2).add_(torch.finfo(torch.float32).eps)
    return torch.stack([delta.magnitude.flatten() for _, delta in alike]).float().div(norms)


def _gain(layer: Layer, delta: Dora) -> Tensor:
    return delta.gain(_pristine(layer).float())


def _pristine(layer: Layer) -> Tensor:
    # A layer without a pristine copy has never been changed.
    matrix = layer.parameter.reshape(layer.shape) if layer.pristine is None else layer.pristine
    return matrix.to(layer.device, non_blocking=True)
