"""Takes a blend and a group of layers, writes the layers that it changes: by a kernel, in stacks, or one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdxl_gateway.core.recipe import BlendKey
from sdxl_gateway.engine.lora.formats import Adapter
from sdxl_gateway.engine.lora.fused import KernelWriter
from sdxl_gateway.engine.lora.group import Flags, LayerGroup, Positions, Strengths
from sdxl_gateway.engine.lora.layers import Layer
from sdxl_gateway.engine.lora.merge import Change, LayerWriter, Share, write_stack

NO_STACK = -1


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a switch does to a group: `bare` layers get their pristine weights back, `written` ones the wanted blend.

    Of the latter, `by_kernel` are written by the kernel.
    """

    mix: BlendKey
    wanted: Strengths
    adapters: Mapping[str, Adapter]
    bare: Flags
    written: Flags
    by_kernel: Flags


class GroupWriter:
    """`stacks` numbers the groups of layers that are written together; `kernel` writes all layers that it can."""

    def __init__(self, group: LayerGroup, single: LayerWriter, stacks: Positions, kernel: KernelWriter | None) -> None:
        self.group = group
        self._single = single
        self._stacks = stacks
        self._kernel = kernel

    def plan(self, mix: BlendKey, adapters: Mapping[str, Adapter]) -> Rewrite:
        """What to write to put the mix on; changes nothing."""
        wanted = {digest: self.group.strengths(weight, self.group.reached(adapters[digest])) for digest, weight in mix}
        stale, changed = self.group.stale(wanted), self.group.touched(wanted)
        by_kernel = self._kernel.takes(wanted, adapters) if self._kernel else np.zeros_like(stale)
        written = self._whole_stacks(stale & changed, changed & ~by_kernel)
        return Rewrite(mix, wanted, adapters, stale & ~changed, written, by_kernel & written)

    def write(self, rewrite: Rewrite) -> None:
        """Execute the plan. After an error the caller restores half-written layers."""
        if self._kernel:
            self._kernel.write(rewrite.by_kernel, rewrite.mix, rewrite.wanted, rewrite.adapters)
        stacks: defaultdict[object, list[Change]] = defaultdict(list)
        for at in np.flatnonzero(rewrite.written & ~rewrite.by_kernel).tolist():
            change = self._change(at, rewrite)
            ranks = None if self._stacks[at] == NO_STACK else change.ranks()
            if ranks is None:
                self._single.write(change)
            else:
                stacks[self._stacks[at], ranks, change.digests].append(change)
        for stack in stacks.values():
            write_stack(stack)

    def _whole_stacks(self, written: Flags, stackable: Flags) -> Flags:
        """Extended to whole stacks, so that the arithmetic, and so every bit, depends on the blend only."""
        begun = np.unique(self._stacks[written & stackable])
        return written | (stackable & np.isin(self._stacks, begun[begun != NO_STACK]))

    def _change(self, at: int, rewrite: Rewrite) -> Change:
        layer = self.group.layers[at]
        weights = [(digest, float(strengths[at])) for digest, strengths in rewrite.wanted.items()]
        shares = [Share(d, weight, rewrite.adapters[d].deltas[layer.name]) for d, weight in weights if weight]
        return Change(layer, tuple(shares))


def stacks_of(layers: Iterable[Layer], stack_bytes: int) -> Positions:
    """The number of each layer's stack; a stack has one shape and dtype, and at most `stack_bytes` in float32."""
    count: defaultdict[tuple[object, ...], int] = defaultdict(int)
    numbers: dict[tuple[object, ...], int] = {}
    stacks = []
    for layer in layers:
        kind = (layer.component, layer.parameter.dtype, layer.parameter.device, *layer.parameter.shape)
        length = max(1, stack_bytes // (4 * layer.parameter.numel()))
        stacks.append(numbers.setdefault((*kind, count[kind] // length), len(numbers)))
        count[kind] += 1
    return np.array(stacks, dtype=np.int64)


def no_stacks(layers: Sequence[Layer]) -> Positions:
    """No layer is in a stack."""
    return np.full(len(layers), NO_STACK, dtype=np.int64)
