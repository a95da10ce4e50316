"""Takes layers and the deltas wanted on them, writes W = round(W_pristine + Σ weight · ΔW) into the same storage.

All sums are in float32 and rounded to the storage dtype once. The result depends on the pristine weights and the blend
only: deltas are added in digest order, dense ones first, then all low-rank ones as one product of concatenated factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sdxl_gateway.engine.lora.delta import Delta, LowRank, moved
from sdxl_gateway.engine.lora.layers import Layer, write_rounded

FULL_PRECISION = "ieee"
Factors = tuple[LowRank, float]
"""A product of thin matrices and its factor, which includes its own scale."""
KeepDense = Callable[[tuple[str, str], int, Callable[[], Tensor]], Tensor]


@dataclass(frozen=True, slots=True)
class Share:
    """One adapter's change to a layer, with its weight there."""

    digest: str
    weight: float
    delta: Delta


@dataclass(frozen=True, slots=True)
class Change:
    """What a layer is to become: its pristine weight plus these shares, in digest order."""

    layer: Layer
    shares: tuple[Share, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of the adapters with a share."""
        return tuple(share.digest for share in self.shares)

    def ranks(self) -> tuple[int, ...] | None:
        """The rank of each share, or None if one of them is not a product of thin matrices."""
        factors = self.low_ranks()
        return tuple(f.down.shape[0] for f, _ in factors) if len(factors) == len(self.shares) else None

    def low_ranks(self) -> list[Factors]:
        """The shares that are products of thin matrices, each with its factor in this blend."""
        pairs = [(share.delta.low_rank(), share.weight) for share in self.shares]
        return [(factors, factors.scale * weight) for factors, weight in pairs if factors is not None]


@contextmanager
def full_precision() -> Iterator[None]:
    """Float32 products and sums in full precision, whatever (TF32, bfloat16, float16) is allowed for painting."""
    cuda = torch.backends.cuda.matmul
    reduced, cuda.allow_fp16_reduced_precision_reduction = cuda.allow_fp16_reduced_precision_reduction, False
    # torch's stubs know only the first of the two.
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = FULL_PRECISION
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
        cuda.allow_fp16_reduced_precision_reduction = reduced


class LayerWriter:
    """Writes one layer at a time, with any deltas, through one float32 scratch buffer, which is reused."""

    def __init__(self, keep_dense: KeepDense) -> None:
        self._keep_dense = keep_dense
        self._scratch = torch.empty(0)

    def write(self, change: Change) -> None:
        """The pristine weight plus the shares, rounded once. After an error the caller restores the layer."""
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
            target.addmm_(*_concatenated(factors, layer.device))
        if target.data_ptr() != layer.parameter.data_ptr():
            layer.write(target)

    def _target(self, layer: Layer) -> Tensor:
        """The parameter itself if float32 sums can be computed in it, else scratch memory."""
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


def _concatenated(factors: Sequence[tuple[LowRank, float]], device: torch.device) -> tuple[Tensor, Tensor]:
    ups = [f.up.to(device, torch.float32) * (f.scale * weight) for f, weight in factors]
    downs = [f.down.to(device, torch.float32) for f, _ in factors]
    if len(factors) == 1:
        return ups[0], downs[0]
    return torch.cat(ups, dim=1), torch.cat(downs, dim=0)


def write_stack(changes: Sequence[Change]) -> None:
    """Write layers of one shape, storage dtype, device, `ranks()` and `digests` in a few launches, however many.

    Sums are in float32; if factors and storage have one 16-bit dtype, CUDA multiplies them directly, which is exact,
    and rounds in the same kernel.
    """
    factors = [change.low_ranks() for change in changes]
    layers = [change.layer for change in changes]
    first, dtype = layers[0], _operands(layers[0], factors)
    stack = torch.empty((len(changes), *first.shape), dtype=dtype, device=first.device)
    matrices = list(stack.unbind(0))
    torch._foreach_copy_(matrices, [layer.untouched for layer in layers], non_blocking=True)
    up, down, alpha = _stacked(factors, dtype, first.device)
    torch.baddbmm(stack, up, down, alpha=alpha, out=stack)
    if first.is_plain:
        torch._foreach_copy_([layer.parameter for layer in layers], _as_stored(layers, matrices))
        return
    if first.scale is not None:
        write_rounded(layers, stack)
        return
    for layer, matrix in zip(layers, matrices, strict=True):
        layer.write(matrix)


def _as_stored(layers: Sequence[Layer], matrices: Sequence[Tensor]) -> list[Tensor]:
    return [matrix.view(layer.parameter.shape) for layer, matrix in zip(layers, matrices, strict=True)]


def _operands(layer: Layer, factors: Sequence[Sequence[Factors]]) -> torch.dtype:
    """The dtype to multiply in. Only CUDA surely sums 16-bit products in float32; one-byte weights round later."""
    stored = layer.untouched.dtype
    kept = {half.dtype for shares in factors for low_rank, _ in shares for half in (low_rank.up, low_rank.down)}
    exact = layer.device.type not in ("cpu", "mps") and layer.scale is None and kept == {stored}
    return stored if exact else torch.float32


def _stacked(
    factors: Sequence[Sequence[Factors]], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, float]:
    """Ups (layers, rows, ranks), downs (layers, ranks, columns) and the largest factor; ups are scaled by the rest.

    Factors reach the device as arguments of kernels, without a copy to wait for.
    """
    alpha = max((abs(scale) for shares in factors for _, scale in shares), default=0.0) or 1.0
    ups, downs = zip(*(_share(share, dtype, device, alpha) for share in zip(*factors, strict=True)), strict=True)
    if len(ups) == 1:
        return ups[0], downs[0], alpha
    return torch.cat(ups, dim=2), torch.cat(downs, dim=1), alpha


def _share(share: Sequence[Factors], dtype: torch.dtype, device: torch.device, alpha: float) -> tuple[Tensor, Tensor]:
    up = torch.stack([low_rank.up for low_rank, _ in share]).to(device, dtype, non_blocking=True)
    down = torch.stack([low_rank.down for low_rank, _ in share]).to(device, dtype, non_blocking=True)
    parts = [scale / alpha for _, scale in share]
    if any(part != 1 for part in parts):
        torch._foreach_mul_(list(up.unbind(0)), parts)
    return up, down
