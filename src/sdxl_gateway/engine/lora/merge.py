"""Takes layers and the deltas wanted on them, writes W = round(W_pristine + Σ weight · ΔW) into the same storage.

All sums run in float32 and are rounded to the storage dtype once. What is written depends on the pristine bits and the
blend alone: deltas come in digest order, dense ones first, then all low-rank ones as one product of ranks side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sdxl_gateway.engine.lora.delta import Delta, LowRank, moved
from sdxl_gateway.engine.lora.layers import Layer, Mix

FULL_PRECISION = "ieee"
KeepDense = Callable[[tuple[str, str], int, Callable[[], Tensor]], Tensor]


@dataclass(frozen=True, slots=True)
class Share:
    """One adapter's part in a layer."""

    digest: str
    weight: float
    delta: Delta


@dataclass(frozen=True, slots=True)
class Change:
    """What a layer is to become: its pristine self plus these shares, in digest order."""

    layer: Layer
    shares: tuple[Share, ...]

    @property
    def mix(self) -> Mix:
        """What is on the layer once it is written."""
        return tuple((share.digest, share.weight) for share in self.shares)

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the adapters that share in it."""
        return tuple(share.digest for share in self.shares)

    def ranks(self) -> tuple[int, ...] | None:
        """The rank of each share, or None when one of them is no product of thin matrices."""
        factors = [share.delta.low_rank() for share in self.shares]
        return tuple(f.down.shape[0] for f in factors if f is not None) if None not in factors else None


@contextmanager
def full_precision() -> Iterator[None]:
    """Float32 products in float32, whatever shortcut (TF32, bfloat16) is allowed for painting."""
    # torch's stubs know the first of the two alone.
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = FULL_PRECISION
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


class LayerWriter:
    """Writes one layer at a time, with any deltas, through one float32 scratch buffer that is kept and reused."""

    def __init__(self, keep_dense: KeepDense) -> None:
        self._keep_dense = keep_dense
        self._scratch = torch.empty(0)

    def write(self, change: Change) -> None:
        """The layer's pristine weight plus its shares, rounded once. The caller sees to a layer left half-written."""
        layer = change.layer
        target = self._target(layer)
        target.copy_(layer.untouched)
        factors: list[tuple[LowRank, float]] = []
        for share in change.shares:
            low_rank = share.delta.low_rank()
            if low_rank is None:
                target.add_(self._dense(layer, share), alpha=share.weight)
            else:
                factors.append((low_rank, share.weight))
        if factors:
            target.addmm_(*_side_by_side(factors, layer.device))
        if target.data_ptr() != layer.parameter.data_ptr():
            layer.write(target)

    def _target(self, layer: Layer) -> Tensor:
        """The parameter itself when it can take float32 sums in place, else scratch."""
        parameter = layer.parameter
        if layer.is_plain and parameter.dtype is torch.float32 and parameter.is_contiguous():
            return parameter.view(layer.shape)
        if self._scratch.numel() < parameter.numel() or self._scratch.device != layer.device:
            self._scratch = torch.empty(parameter.numel(), dtype=torch.float32, device=layer.device)
        return self._scratch[: parameter.numel()].view(layer.shape)

    def _dense(self, layer: Layer, share: Share) -> Tensor:
        def make() -> Tensor:
            pristine = layer.untouched.to(layer.device, torch.float32)
            return moved(share.delta, layer.device).dense(pristine)

        return self._keep_dense((share.digest, layer.name), 4 * layer.parameter.numel(), make)


def _side_by_side(factors: Sequence[tuple[LowRank, float]], device: torch.device) -> tuple[Tensor, Tensor]:
    ups = [f.up.to(device, torch.float32) * (f.scale * weight) for f, weight in factors]
    downs = [f.down.to(device, torch.float32) for f, _ in factors]
    if len(factors) == 1:
        return ups[0], downs[0]
    return torch.cat(ups, dim=1), torch.cat(downs, dim=0)


def write_stack(changes: Sequence[Change]) -> None:
    """Layers of one shape, storage, device, `ranks()` and `digests` in a handful of launches, however many."""
    first = changes[0].layer
    device = first.device
    stack = torch.empty((len(changes), *first.shape), dtype=torch.float32, device=device)
    matrices = list(stack.unbind(0))
    torch._foreach_copy_(matrices, [change.layer.untouched for change in changes], non_blocking=True)
    ups, downs = zip(*(_stacked(changes, i, device) for i in range(len(changes[0].shares))), strict=True)
    stack.baddbmm_(torch.cat(ups, dim=2), torch.cat(downs, dim=1))
    if first.is_plain:
        parameters = [change.layer.parameter for change in changes]
        torch._foreach_copy_(parameters, [m.view(p.shape) for m, p in zip(matrices, parameters, strict=True)])
        return
    for change, matrix in zip(changes, matrices, strict=True):
        change.layer.write(matrix)


def _stacked(changes: Sequence[Change], index: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Share `index` of every layer: up (layers, rows, rank), scaled, and down (layers, rank, columns)."""
    shares = [change.shares[index] for change in changes]
    factors = [f for share in shares if (f := share.delta.low_rank()) is not None]
    scales = torch.tensor([f.scale * s.weight for f, s in zip(factors, shares, strict=True)], dtype=torch.float64)
    up = torch.stack([f.up for f in factors]).to(device, torch.float32)
    down = torch.stack([f.down for f in factors]).to(device, torch.float32)
    return up.mul_(scales.to(torch.float32).to(device)[:, None, None]), down
