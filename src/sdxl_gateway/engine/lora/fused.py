"""Takes a blend's strengths in a group of layers, writes all that one kernel can: each weight read and written once."""

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
"""Of so many adapters the rows are kept, some 120 kB each: filling them in takes longer than a switch."""
KEPT_TABLES = 8
"""For warm blends that take turns. Of a LoRA on all linear layers it is 0.8 MB of page-locked host memory, and 0.1 more
for each further one."""

TableKey = tuple[BlendKey, tuple[tuple[int, int], ...], bytes, bytes]
"""The mix, where its adapters lie, the layers that are written, and where their pristine copies lie."""


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
        # Whatever a compiler, a driver or a kernel that is wrong may say: blends have another way onto the weights.
        log.warning("LoRA blends are put on without Triton, which takes some ten times as long: %s", error)
        return None
    return launch


@dataclass(frozen=True, slots=True)
class Reach:
    """An adapter's shares, a row each, in layers `at`; `writable` says which of the rows are there.

    `gains` are places of DoRA's gains in a tensor that all of them lie in. It keeps no tensor of the adapter alive.
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
class Given:
    """One adapter as it lies on the device now: its factors from `address` on, and DoRA's gains."""

    address: int
    reach: Reach
    gains: Tensor | None

    @property
    def places(self) -> tuple[int, int]:
        """Where both begin; 0 stands for no gains."""
        return self.address, 0 if self.gains is None else self.gains.data_ptr()


class KernelWriter:
    """Writes layers of one group by a kernel; `keep` keeps DoRA's gains, which a blend does not change."""

    def __init__(self, group: LayerGroup, kernel: Kernel, keep: KeepDense) -> None:
        self._group = group
        self._kernel = kernel
        self._keep = keep
        self._reaches: Recent[tuple[str, int], Reach] = Recent(KEPT_REACHES)
        self._tables: Recent[TableKey, MergeTable] = Recent(KEPT_TABLES)
        rows = [layer_row(layer) for layer in group.layers]
        kinds = {(layer.parameter.dtype, layer.device) for layer, row in zip(group.layers, rows, strict=True) if row}
        # One launch has one storage format; a model has one.
        self._kind = next(iter(kinds)) if len(kinds) == 1 else None
        self._fits = np.array([row is not None and self._kind is not None for row in rows], dtype=np.bool_)
        self._rows = np.array([row or [0] * LAYER_FIELDS for row in rows], dtype=np.int64)

    def takes(self, wanted: Strengths, adapters: Mapping[str, Adapter]) -> Flags:
        """The layers that it can write with all that the blend has for them."""
        found = self._fits.copy()
        for digest, strengths in wanted.items():
            reach = self._reach(adapters[digest])
            unable = reach.at[~reach.writable]
            found[unable] &= strengths[unable] == 0
        return found

    def write(self, chosen: Flags, mix: BlendKey, wanted: Strengths, adapters: Mapping[str, Adapter]) -> None:
        """Those layers, each with its pristine copy taken and changed by at least one adapter; `wanted` is the mix.

        A table serves again where every number in it would be the same: whatever of it may change is in its key.
        """
        if self._kind is None or not chosen.any():
            return
        dtype, device = self._kind
        # Asked for anew each time: where pristine copies lie is the store's affair.
        pristine = np.array([layer.untouched.data_ptr() for layer in self._group.chosen(chosen)], dtype=np.int64)
        given = {digest: self._given(adapter) for digest, adapter in adapters.items()}

        def make() -> MergeTable:
            rows = self._rows[chosen]
            rows[:, PRISTINE] = pristine
            return merge_table(rows, _parts(chosen, wanted, given), dtype, pin=device.type == "cuda")

        key = (mix, tuple(one.places for one in given.values()), chosen.tobytes(), pristine.tobytes())
        self._kernel(self._tables.of(key, make), device)

    def _given(self, adapter: Adapter) -> Given:
        reach = self._reach(adapter)
        return Given(adapter.buffer.data_ptr(), reach, self._gains(adapter, reach))

    def _reach(self, adapter: Adapter) -> Reach:
        """Digest and address say all: a file's content is its digest, its layout follows from that."""
        key = (adapter.digest, adapter.buffer.data_ptr())
        return self._reaches.of(key, lambda: _reach(adapter, self._group))

    def _gains(self, adapter: Adapter, reach: Reach) -> Tensor | None:
        if not reach.gain_count:
            return None
        key = adapter.digest, f"gains {self._group.layers[0].component}"
        return self._keep(key, 4 * reach.gain_count, lambda: self._computed_gains(adapter, reach))

    def _computed_gains(self, adapter: Adapter, reach: Reach) -> Tensor:
        layers = [self._group.layers[at] for at in reach.at[reach.gains != NO_GAINS]]
        pairs = [(layer, adapter.deltas[layer.name]) for layer in layers]
        return gains_of([(layer, delta) for layer, delta in pairs if isinstance(delta, Dora)])


def _parts(chosen: Flags, wanted: Strengths, given: Mapping[str, Given]) -> list[Part]:
    positions = np.cumsum(chosen) - 1
    return [_part(given[digest], chosen & (found != 0), found, positions) for digest, found in wanted.items()]


def _part(given: Given, chosen: Flags, strengths: NDArray[np.float64], positions: Positions) -> Part:
    reach, gains = given.reach, given.gains
    here = chosen[reach.at]
    at, rows = reach.at[here], reach.rows[here]
    if gains is not None:
        places = reach.gains[here]
        rows[:, GAINS] = np.where(places == NO_GAINS, 0, gains.data_ptr() + gains.itemsize * places)
    return Part(positions[at], rows, strengths[at])
