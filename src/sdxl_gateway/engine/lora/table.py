"""Takes layers and adapters' deltas, gives the table of addresses, sizes and scales that merge kernels execute.

Its rows have LAYER_FIELDS or SHARE_FIELDS 64-bit numbers. A share is one adapter's change to a layer, strength ·
(gain · (P + change) - P), or strength · change without gains (DoRA's). The change is the scale times one half, or times
the elementwise (LoHa) or Kronecker (LoKr) product of two. A half is left · right or, for rank 0, right alone; the
layer's row r and column c are a half's row r / divisor % modulus and column c / divisor % width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdxl_gateway.engine.lora.delta import Delta, Dora, Full, Loha, Lokr, Lora
from sdxl_gateway.engine.lora.layers import Layer

LAYER_FIELDS = 8
PRISTINE, WEIGHT, ROWS, COLUMNS, WINDOW, FIRST_SHARE, SHARES = range(7)
HALF_FIELDS = 7
LEFT, RIGHT, RANK, WIDTH, ROW_DIVISOR, ROW_MODULUS, COLUMN_DIVISOR = range(HALF_FIELDS)
SHARE_FIELDS = 20
HALF_COUNT, DTYPE, GAINS, GAIN_COLUMNS, SCALE, STRENGTH, HALVES = range(7)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
STORED_DTYPES = DTYPES[:2]
GENERAL = UNALIGNED, ALIGNED = len(DTYPES), len(DTYPES) + 1
"""Groups of layers with other changes than plain LoRAs; those with plain ones are numbered by their factors' dtype."""
ALIGNED_BYTES = 16
ALIGNED_NUMBERS = 8
LARGEST_LAYER = 2**31

Words = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tiling:
    """A program writes `rows` times `columns` numbers at once, `blocks` times; it multiplies `depth` ranks at once."""

    rows: int = 64
    columns: int = 128
    blocks: int = 4
    depth: int = 32
    warps: int = 8


TILINGS = [
    Tiling(columns=64, blocks=8, warps=4),
    Tiling(),
    Tiling(),
    Tiling(columns=64, blocks=8),
    Tiling(columns=64, blocks=8),
]
"""By group. Of eight tilings tried on an H200, the first, for float16, was the fastest at each rank."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel's launch: items `first_item` to `first_item + items`, of layers of one `group`."""

    group: int
    first_item: int
    items: int


@dataclass(frozen=True, slots=True)
class MergeTable:
    """Layers, then shares, then items as they lie in `words`, in host memory; weights are stored as `dtype`."""

    words: Tensor
    shares_at: int
    items_at: int
    launches: tuple[Launch, ...]
    dtype: torch.dtype


Kernel = Callable[[MergeTable, torch.device], None]
"""Writes the weights of a table's layers, on that device."""


@dataclass(frozen=True, slots=True)
class Part:
    """One adapter's shares (rows of `share_row`) in distinct layers `at`, with its strength in each."""

    at: Words
    shares: Words
    strengths: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Half:
    left: Tensor | None
    right: Tensor
    row_divisor: int = 1
    column_divisor: int = 1

    @property
    def rows(self) -> int:
        return (self.right if self.left is None else self.left).shape[0]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.right,) if self.left is None else (self.left, self.right)

    def row(self) -> list[int]:
        left, rank = (0, 0) if self.left is None else (self.left.data_ptr(), self.right.shape[0])
        width = self.right.shape[1]
        return [left, self.right.data_ptr(), rank, width, self.row_divisor, self.rows, self.column_divisor]


def layer_row(layer: Layer) -> list[int] | None:
    """None for a layer that no kernel can write: of another dtype or layout, quantised, or not on the device.

    The address of its pristine weights and its shares are filled in later.
    """
    parameter = layer.parameter
    if not (layer.is_plain and parameter.dtype in STORED_DTYPES and parameter.numel() < LARGEST_LAYER):
        return None
    contiguous = parameter.is_contiguous()
    if not contiguous and not parameter.is_contiguous(memory_format=torch.channels_last):
        return None
    window = 1 if contiguous else prod(parameter.shape[2:])
    return [0, parameter.data_ptr(), *layer.shape, window, 0, 0, 0]


def share_row(delta: Delta, device: torch.device) -> list[int] | None:
    """None for a change that no kernel computes: with a core tensor, or with tensors not of one dtype, on `device`.

    The address of its gains and its strength are filled in for each blend.
    """
    inner, gain_columns = (delta.inner, _gain_columns(delta)) if isinstance(delta, Dora) else (delta, 0)
    scale, halves = _halves(inner)
    kinds = {(tensor.dtype, tensor.device, tensor.is_contiguous()) for half in halves for tensor in half.tensors}
    if len(kinds) != 1 or not kinds <= {(dtype, device, True) for dtype in DTYPES}:
        return None
    dtype = DTYPES.index(halves[0].right.dtype)
    rows = [number for half in (*halves, halves[-1])[:2] for number in half.row()]
    return [len(halves), dtype, 0, gain_columns, int(np.float32(scale).view(np.int32)), 0, *rows]


def _halves(delta: Delta) -> tuple[float, tuple[_Half, ...]]:
    """The scale and the halves; no halves for a change with a core tensor."""
    match delta:
        case Lora(mid=None):
            return delta.scale, (_Half(delta.up, delta.down),)
        case Full():
            return delta.scale, (_Half(None, delta.diff.reshape(delta.shape)),)
        case Loha(t1=None, t2=None):
            return delta.scale, (_half(delta.w1_a, delta.w1_b), _half(delta.w2_a, delta.w2_b))
        case Lokr(t2=None):
            second = _half(delta.a2, delta.b2)
            return delta.scale, (_half(delta.a1, delta.b1, second.rows, second.right.shape[1]), second)
    return 0.0, ()


def _half(left: Tensor | None, right: Tensor, row_divisor: int = 1, column_divisor: int = 1) -> _Half:
    return _Half(None if left is None else left.flatten(1), right.flatten(1), row_divisor, column_divisor)


def _gain_columns(delta: Dora) -> int:
    """The number of columns that share a gain; 0 for gains by row."""
    return 0 if delta.by_row else delta.shape[1] // delta.magnitude.numel()


def merge_table(layers: Words, parts: Sequence[Part], dtype: torch.dtype, *, pin: bool) -> MergeTable:
    """The table for `layers` (rows of `layer_row` with pristine addresses filled in), each with at least one share.

    `at` of each part are indices of `layers`. Shares of a layer keep the order of the parts.
    """
    at = np.concatenate([part.at for part in parts])
    order = np.argsort(at, kind="stable")
    shares = np.concatenate([part.shares for part in parts])[order]
    shares.view(np.float32)[:, 2 * STRENGTH] = np.concatenate([part.strengths for part in parts])[order]
    counts = np.bincount(at, minlength=len(layers))
    layers = layers.copy()
    layers[:, SHARES], layers[:, FIRST_SHARE] = counts, np.cumsum(counts) - counts
    groups = _groups(layers, shares)
    by_group = np.argsort(groups, kind="stable")
    layers, groups = layers[by_group], groups[by_group]
    items, counts = _items(layers, groups)
    words = torch.empty(layers.size + shares.size + items.size, dtype=torch.int64, pin_memory=pin)
    np.concatenate([layers.ravel(), shares.ravel(), items], out=words.numpy())
    return MergeTable(words, layers.size, layers.size + shares.size, tuple(_launches(groups, counts)), dtype)


def _groups(layers: Words, shares: Words) -> Words:
    """The group of each layer."""
    aligned = (layers[:, [PRISTINE, WEIGHT]] % ALIGNED_BYTES == 0).all(axis=1)
    aligned &= (layers[:, WINDOW] == 1) & (layers[:, COLUMNS] % ALIGNED_NUMBERS == 0)
    half = shares[:, HALVES:]
    plain = (shares[:, HALF_COUNT] == 1) & (shares[:, GAINS] == 0) & (half[:, RANK] > 0)
    plain &= (half[:, [LEFT, RIGHT]] % ALIGNED_BYTES == 0).all(axis=1) & (half[:, RANK] % ALIGNED_NUMBERS == 0)
    first = layers[:, FIRST_SHARE]
    lowest, highest = (ufunc.reduceat(shares[:, DTYPE], first) for ufunc in (np.minimum, np.maximum))
    all_plain = np.logical_and.reduceat(plain, first) & (lowest == highest)
    return np.where(aligned & all_plain, lowest, np.where(aligned, ALIGNED, UNALIGNED))


def _items(layers: Words, groups: Words) -> tuple[Words, Words]:
    """For each program its layer (upper 32 bits) and tile there (lower 32 bits); and the number of items by layer."""
    rows = np.array([tiling.rows for tiling in TILINGS])[groups]
    spans = np.array([tiling.columns * tiling.blocks for tiling in TILINGS])[groups]
    counts = -(-layers[:, ROWS] // rows) * -(-layers[:, COLUMNS] // spans)
    first = np.cumsum(counts) - counts
    items = np.repeat((np.arange(len(layers)) << 32) - first, counts)
    items += np.arange(len(items))
    return items, counts


def _launches(groups: Words, counts: Words) -> Iterator[Launch]:
    first = 0
    for group in np.unique(groups).tolist():
        items = int(counts[groups == group].sum())
        yield Launch(group, first, items)
        first += items
