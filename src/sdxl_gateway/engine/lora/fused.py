"""Takes strengths in a group of layers, writes those a merge kernel can: each weight read and written once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdxl_gateway.core.recipe import BlendKey
from sdxl_gateway.engine.lora.delta import Dora
from sdxl_gateway.engine.lora.formats import Adapter
from sdxl_gateway.engine.lora.gains import gains_of
from sdxl_gateway.engine.lora.group import Flags, LayerGroup, Positions, Strengths
from sdxl_gateway.engine.lora.kernel_proof import prove
from sdxl_gateway.engine.lora.merge import KeepDense
from sdxl_gateway.engine.lora.recent import Recent
from sdxl_gateway.engine.lora.table import (
    GAINS,
    LAYER_FIELDS,
    PRISTINE,
    SHARE_FIELDS,
    STORED_DTYPES,
    Kernel,
    MergeTable,
    Part,
    Words,
    layer_row,
    merge_table,
    share_row,
)

log = logging.getLogger(__name__)

OLDEST_CAPABILITY = (8, 0)
NO_GAINS = -1
KEPT_REACHES = 64
"""Adapters whose table rows are cached, some 120 kB each: building them takes longer than a switch."""
KEPT_TABLES = 8
"""For blends that alternate. A table takes 0.8 MB of page-locked host memory for a LoRA of all linear layers, and 0.1
more for each further one."""

TableKey = tuple[BlendKey, tuple[tuple[int, int], ...], bytes, bytes]
"""The mix, its adapters' addresses, the layers to write, and the addresses of their pristine copies."""


@cache
def merge_kernel(device: torch.device, dtype: torch.dtype) -> Kernel | None:
    """Triton's for weights stored as `dtype`, where it is installed and runs; compiled, and compared with torch."""
    if device.type != "cuda" or dtype not in STORED_DTYPES:
        return None
    if torch.cuda.get_device_capability(device) < OLDEST_CAPABILITY:
        return None
    try:
        # Not everywhere: torch has Triton as a dependency where it has CUDA, on Linux.
        from sdxl_gateway.engine.lora.triton_merge import launch

        prove(launch, device, dtype)
    except Exception as error:
        # A compiler, a driver or a wrong result may raise anything; blends are then written without the kernel.
        log.warning("LoRA blends are switched without Triton, which takes some ten times as long: %s", error)
        return None
    return launch


@dataclass(frozen=True, slots=True)
class Reach:
    """An adapter's shares in layers `at`, one table row each; rows that are not `writable` are blank.

    `gains` are offsets of DoRA's gains in one tensor of `gain_count` numbers. It keeps no tensor of the adapter alive.
    """

    at: Positions
    rows: Words
    writable: Flags
    gains: Positions
    gain_count: int


def _reach(adapter: Adapter, group: LayerGroup) -> Reach:
    at = group.reached(adapter)
    pairs = [(adapter.deltas[group.layers[i].name], group.layers[i]) for i in at]
    rows = [share_row(delta, layer.device) for delta, layer in pairs]
    sizes = [delta.magnitude.numel() if isinstance(delta, Dora) else 0 for delta, _ in pairs]
    starts = np.array([0, *accumulate(sizes)], dtype=np.int64)
    gains = np.where(np.array(sizes, dtype=np.int64) > 0, starts[:-1], NO_GAINS)
    filled = np.array([row or [0] * SHARE_FIELDS for row in rows], dtype=np.int64).reshape(-1, SHARE_FIELDS)
    return Reach(at, filled, np.array([row is not None for row in rows], dtype=np.bool_), gains, int(starts[-1]))


@dataclass(frozen=True, slots=True)
class Placed:
    """One adapter's position on the device now: its factors from `address` on, and DoRA's gains."""

    address: int
    reach: Reach
    gains: Tensor | None

    @property
    def addresses(self) -> tuple[int, int]:
        """Of factors and gains; 0 for no gains."""
        return self.address, 0 if self.gains is None else self.gains.data_ptr()


class KernelWriter:
    """Writes layers of one group by a kernel; `keep` caches DoRA's gains, which do not depend on the blend."""

    def __init__(self, group: LayerGroup, kernel: Kernel, keep: KeepDense) -> None:
        self._group = group
        self._kernel = kernel
        self._keep = keep
        self._reaches: Recent[tuple[str, int], Reach] = Recent(KEPT_REACHES)
        self._tables: Recent[TableKey, MergeTable] = Recent(KEPT_TABLES)
        rows = [layer_row(layer) for layer in group.layers]
        kinds = {(layer.parameter.dtype, layer.device) for layer, row in zip(group.layers, rows, strict=True) if row}
        # A launch has one storage dtype, and so does a model.
        self._kind = next(iter(kinds)) if len(kinds) == 1 else None
        self._fits = np.array([row is not None and self._kind is not None for row in rows], dtype=np.bool_)
        self._rows = np.array([row or [0] * LAYER_FIELDS for row in rows], dtype=np.int64)

    def takes(self, wanted: Strengths, adapters: Mapping[str, Adapter]) -> Flags:
        """The layers that it can write, with all shares of the blend in them."""
        takes = self._fits.copy()
        for digest, strengths in wanted.items():
            reach = self._reach(adapters[digest])
            unable = reach.at[~reach.writable]
            takes[unable] &= strengths[unable] == 0
        return takes

    def write(self, chosen: Flags, mix: BlendKey, wanted: Strengths, adapters: Mapping[str, Adapter]) -> None:
        """Write the chosen layers, each of which has a pristine copy and at least one share; `wanted` is the mix.

        Tables are cached, under all that their numbers depend on.
        """
        if self._kind is None or not chosen.any():
            return
        dtype, device = self._kind
        # Looked up each time, as the store may move pristine copies.
        pristine = np.array([layer.untouched.data_ptr() for layer in self._group.chosen(chosen)], dtype=np.int64)
        placed = {digest: self._placed(adapter) for digest, adapter in adapters.items()}

        def make() -> MergeTable:
            rows = self._rows[chosen]
            rows[:, PRISTINE] = pristine
            return merge_table(rows, _parts(chosen, wanted, placed), dtype, pin=device.type == "cuda")

        key = (mix, tuple(one.addresses for one in placed.values()), chosen.tobytes(), pristine.tobytes())
        self._kernel(self._tables.of(key, make), device)

    def _placed(self, adapter: Adapter) -> Placed:
        reach = self._reach(adapter)
        return Placed(adapter.buffer.data_ptr(), reach, self._gains(adapter, reach))

    def _reach(self, adapter: Adapter) -> Reach:
        """Cached by digest, which decides content and layout, and by the buffer's address."""
        key = (adapter.digest, adapter.buffer.data_ptr())
        return self._reaches.of(key, lambda: _reach(adapter, self._group))

    def _gains(self, adapter: Adapter, reach: Reach) -> Tensor | None:
        if not reach.gain_count:
            return None
        key = adapter.digest, f"gains {self._group.layers[0].component}"
        return self._keep(key, 4 * reach.gain_count, lambda: self._compute_gains(adapter, reach))

    def _compute_gains(self, adapter: Adapter, reach: Reach) -> Tensor:
        layers = [self._group.layers[at] for at in reach.at[reach.gains != NO_GAINS]]
        pairs = [(layer, adapter.deltas[layer.name]) for layer in layers]
        return gains_of([(layer, delta) for layer, delta in pairs if isinstance(delta, Dora)])


def _parts(chosen: Flags, wanted: Strengths, placed: Mapping[str, Placed]) -> list[Part]:
    positions = np.cumsum(chosen) - 1
    return [_part(placed[digest], chosen & (own != 0), own, positions) for digest, own in wanted.items()]


def _part(placed: Placed, chosen: Flags, strengths: NDArray[np.float64], positions: Positions) -> Part:
    reach, gains = placed.reach, placed.gains
    here = chosen[reach.at]
    at, rows = reach.at[here], reach.rows[here]
    if gains is not None:
        offsets = reach.gains[here]
        rows[:, GAINS] = np.where(offsets == NO_GAINS, 0, gains.data_ptr() + gains.itemsize * offsets)
    return Part(positions[at], rows, strengths[at])
