"""Takes the layers that switch together, gives what a blend is on each of them: every adapter's strength, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sdxl_gateway.core.blocks import block_of
from sdxl_gateway.engine.lora.formats import Adapter
from sdxl_gateway.engine.lora.layers import Layer
from sdxl_gateway.engine.lora.recent import Recent

Strengths = Mapping[str, NDArray[np.float64]]
"""By digest, in digest order, one for each layer: 0 where the adapter changes nothing."""
Flags = NDArray[np.bool_]
Positions = NDArray[np.int64]
HALF_WRITTEN = ""
"""Stands for a digest while layers are written; its strength equals none."""
KEPT_REACHES = 64
"""Of so many adapters it is kept what they reach: finding it takes longer than all else that a switch asks here."""


class LayerGroup:
    """Layers known by their position; `on` is the blend that is on them.

    `away` are those whose weights are kept elsewhere than blends are computed.
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = list(layers)
        self.on: Strengths = {}
        self.away = np.array([layer.parameter.device != layer.device for layer in self.layers], dtype=np.bool_)
        self._each = np.array(self.layers, dtype=np.object_)
        self._reached: Recent[str, Positions] = Recent(KEPT_REACHES)
        self._positions = {layer.name: at for at, layer in enumerate(self.layers)}
        blocks = [block_of(layer.name) for layer in self.layers]
        self._blocks = np.array([0 if block is None else block + 1 for block in blocks], dtype=np.int64)

    def reached(self, adapter: Adapter) -> Positions:
        """The layers of this group that the adapter changes; which, its digest says."""
        return self._reached.of(adapter.digest, lambda: self._found(adapter))

    def strengths(self, weight: float | tuple[float, ...], at: Positions) -> NDArray[np.float64]:
        """What a weight of a `BlendKey` is on the layers at these positions."""
        found = np.zeros(len(self.layers))
        found[at] = np.array(weight)[self._blocks[at]] if isinstance(weight, tuple) else weight
        return found

    def stale(self, wanted: Strengths) -> Flags:
        """The layers whose blend is another than the wanted one."""
        none = np.zeros(len(self.layers))
        found = np.zeros(len(self.layers), dtype=np.bool_)
        for digest in self.on.keys() | wanted.keys():
            found |= self.on.get(digest, none) != wanted.get(digest, none)
        return found

    def touched(self, blend: Strengths) -> Flags:
        """The layers that a blend changes."""
        found = np.zeros(len(self.layers), dtype=np.bool_)
        for strengths in blend.values():
            found |= strengths != 0
        return found

    def half_written(self, layers: Flags) -> None:
        """These, and what the blend changed that was on, count as changed, and as any blend's to write anew."""
        self.on = {HALF_WRITTEN: np.where(self.touched(self.on) | layers, np.nan, 0.0)}

    def chosen(self, which: Flags) -> list[Layer]:
        """Those layers."""
        found: list[Layer] = self._each[which].tolist()
        return found

    def _found(self, adapter: Adapter) -> Positions:
        found = [self._positions[name] for name in adapter.deltas if name in self._positions]
        return np.array(found, dtype=np.int64)
