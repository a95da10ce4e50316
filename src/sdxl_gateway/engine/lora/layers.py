"""Takes the parameters of a model's components, gives layers: each knows its pristine bits and what is on it now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from sdxl_gateway.catalog.model_files import published_name
from sdxl_gateway.core.blocks import block_of
from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger

PristineHome = Literal["auto", "device", "host"]
Mix = tuple[tuple[str, float], ...]
"""Which adapters are on a layer, at which weight, in digest order."""


@dataclass(slots=True, eq=False)
class Layer:
    """One parameter that blends may change, seen as a matrix of rows times columns.

    Its storage, and so its address, is the same for ever: values are only ever copied into it.
    """

    name: str
    parameter: Tensor
    pristine: Tensor | None = None
    mix: Mix = ()

    @property
    def component(self) -> str:
        """The model it belongs to, as "unet"."""
        return self.name.partition(".")[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), all dimensions but the first in the columns."""
        rows = self.parameter.shape[0]
        return rows, self.parameter.numel() // rows

    @property
    def untouched(self) -> Tensor:
        """The pristine matrix, contiguous, in the storage dtype, on the device or in host memory."""
        if self.pristine is None:
            raise RuntimeError(f"{self.name} was to be changed before its pristine copy was taken")
        return self.pristine

    def write(self, matrix: Tensor) -> None:
        """Copy (rows, columns) in, rounding once to the storage dtype; any memory format, any device."""
        self.parameter.copy_(matrix.view(self.parameter.shape))


def restore(layers: Sequence[Layer]) -> None:
    """Put the pristine bits back."""
    if layers:
        pristine = [layer.untouched.view(layer.parameter.shape) for layer in layers]
        torch._foreach_copy_([layer.parameter for layer in layers], pristine)
    for layer in layers:
        layer.mix = ()


def weight_on(layer: str, weight: float | tuple[float, ...]) -> float:
    """What a weight of a `BlendKey` is on the layer of that name."""
    if not isinstance(weight, tuple):
        return weight
    block = block_of(layer)
    return weight[0 if block is None else block + 1]


def layers_of(components: Mapping[str, nn.Module]) -> dict[str, Layer]:
    """Every floating-point parameter by its component-prefixed name, as checkpoint files spell it."""
    return {layer.name: layer for component, module in components.items() for layer in _layers(component, module)}


def _layers(component: str, module: nn.Module) -> Iterator[Layer]:
    # torch.compile's wrapper adds a level of its own.
    names = {name.replace("_orig_mod.", ""): parameter for name, parameter in module.named_parameters()}
    for name, parameter in names.items():
        if parameter.is_floating_point() and parameter.dim() > 0:
            yield Layer(published_name(component, name), parameter.detach())


class PristineStore:
    """Keeps pristine copies where `home` and the ledger say: on the device, else in (page-locked) host memory."""

    def __init__(self, ledger: Ledger, home: PristineHome, name: str) -> None:
        self._ledger = ledger
        self._home = home
        self._name = name

    def keep(self, layer: Layer) -> None:
        """Copy the layer's bits, once. Raises DoesNotFit when `home` is "device" and there is no room."""
        if layer.pristine is not None:
            return
        place = self._place(layer)
        layer.pristine = place(layer.parameter.reshape(layer.shape))

    def forget(self, layer: Layer) -> None:
        """Give up the layer's copy, whose weights can then not be put back."""
        key = self._key(layer)
        self._ledger.unpin(key)
        for tier in (VRAM, PRISTINE_HOST):
            self._ledger.drop(tier, key)
        layer.pristine = None

    def _place(self, layer: Layer) -> Callable[[Tensor], Tensor]:
        key, size_bytes = self._key(layer), layer.parameter.nbytes
        self._ledger.pin(key)
        if self._home != "host":
            try:
                self._ledger.hold(VRAM, key, size_bytes)
                return _on_device
            except DoesNotFit:
                if self._home == "device":
                    self._ledger.unpin(key)
                    raise
        self._ledger.hold(PRISTINE_HOST, key, size_bytes)
        return _in_host

    def _key(self, layer: Layer) -> tuple[str, str, str]:
        return ("pristine", self._name, layer.name)


def _on_device(matrix: Tensor) -> Tensor:
    return matrix.clone(memory_format=torch.contiguous_format)


def _in_host(matrix: Tensor) -> Tensor:
    copy = torch.empty(matrix.shape, dtype=matrix.dtype, pin_memory=matrix.is_cuda)
    return copy.copy_(matrix)
