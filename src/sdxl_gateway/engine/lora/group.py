"""Takes the layers that switch together, gives each adapter's strengths in them, as arrays, for a blend."""

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
"""In place of a digest while layers are being written; its strength NaN differs from any other."""
KEPT_REACHES = 64
"""Adapters whose layers are cached: finding them takes longer than all else that a switch does here."""


class LayerGroup:
    """Layers, identified by index; `on` is the blend that is on them.

    `in_host` are those whose weights are not on the device that computes blends.
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = list(layers)
        self.on: Strengths = {}
        self.in_host = np.array([layer.parameter.device != layer.device for layer in self.layers], dtype=np.bool_)
        self._each = np.array(self.layers, dtype=np.object_)
        self._reached: Recent[str, Positions] = Recent(KEPT_REACHES)
        self._positions = {layer.name: at for at, layer in enumerate(self.layers)}
        blocks = [block_of(layer.name) for layer in self.layers]
        self._blocks = np.array([0 if block is None else block + 1 for block in blocks], dtype=np.int64)

    def reached(self, adapter: Adapter) -> Positions:
        """The layers of this group that the adapter changes, cached by its digest."""
        return self._reached.of(adapter.digest, lambda: self._layers_of(adapter))

    def strengths(self, weight: float | tuple[float, ...], at: Positions) -> NDArray[np.float64]:
        """A `BlendKey`'s weight in each layer at these positions, by its block if weights differ by block; else 0."""
        strengths = np.zeros(len(self.layers))
        strengths[at] = np.array(weight)[self._blocks[at]] if isinstance(weight, tuple) else weight
        return strengths

    def stale(self, wanted: Strengths) -> Flags:
        """The layers whose blend is not the wanted one."""
        none = np.zeros(len(self.layers))
        stale = np.zeros(len(self.layers), dtype=np.bool_)
        for digest in self.on.keys() | wanted.keys():
            stale |= self.on.get(digest, none) != wanted.get(digest, none)
        return stale

    def touched(self, blend: Strengths) -> Flags:
        """The layers that a blend changes."""
        touched = np.zeros(len(self.layers), dtype=np.bool_)
        for strengths in blend.values():
            touched |= strengths != 0
        return touched

    def half_written(self, layers: Flags) -> None:
        """Mark these layers, and those that the blend on now changes, as changed and stale for any blend."""
        self.on = {HALF_WRITTEN: np.where(self.touched(self.on) | layers, np.nan, 0.0)}

    def chosen(self, which: Flags) -> list[Layer]:
        """The layers whose flag is set."""
        chosen: list[Layer] = self._each[which].tolist()
        return chosen

    def _layers_of(self, adapter: Adapter) -> Positions:
        positions = [self._positions[name] for name in adapter.deltas if name in self._positions]
        return np.array(positions, dtype=np.int64)
