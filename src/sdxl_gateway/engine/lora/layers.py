"""Takes the parameters of a model's components, gives layers, each with its storage and its pristine copy."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from sdxl_gateway.catalog.model_files import published_name
from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.engine.errors import out_of_memory
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST, PRISTINE_VRAM
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.memory.offload import HostMemory, aligned
from sdxl_gateway.engine.memory.quantised import quantised_weight, rounded

PristineHome = Literal["auto", "device", "host"]
DEVICE_TIERS = (PRISTINE_VRAM, VRAM)
MATRIX = 2
STACK_BYTES = 256 * 2**20
"""The most float32 scratch in which layers of one shape are computed together."""


@dataclass(slots=True, eq=False)
class Layer:
    """One parameter that blends may change, seen as a matrix (rows, columns).

    Its storage, and so its address, never changes: values are only copied into it. Blends are computed on `device`,
    which is another than the storage's for weights in host memory. A quantised parameter has a `scale` for each row,
    and its pristine copy is of the weights before quantisation.
    """

    name: str
    parameter: Tensor
    device: torch.device
    scale: Tensor | None = None
    pristine: Tensor | None = None

    @property
    def component(self) -> str:
        """The component it belongs to, as "unet"."""
        return self.name.partition(".")[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), with all dimensions but the first flattened into the columns."""
        rows = self.parameter.shape[0]
        return rows, self.parameter.numel() // rows

    @property
    def untouched(self) -> Tensor:
        """The pristine matrix, contiguous, in the checkpoint's dtype, on the device or in host memory."""
        if self.pristine is None:
            raise RuntimeError(f"{self.name} has no pristine copy yet")
        return self.pristine

    @property
    def as_stored(self) -> Tensor:
        """`untouched` in the parameter's own shape."""
        # A linear layer's is a matrix too, as most are; a view would cost more than everything else done to it.
        return self.untouched if self.parameter.dim() == MATRIX else self.untouched.view(self.parameter.shape)

    @property
    def original_bytes(self) -> int:
        """The size of the checkpoint's own weights."""
        return (self.parameter if self.pristine is None else self.pristine).nbytes

    def write(self, matrix: Tensor) -> None:
        """Copy (rows, columns) into the storage, rounding once to its dtype; of any memory format and device."""
        if self.scale is not None:
            matrix, scale = rounded(matrix, self.parameter.dtype, self.scale.dtype)
            self.scale.copy_(scale.view(self.scale.shape))
        self.parameter.copy_(matrix.view(self.parameter.shape))

    @property
    def is_plain(self) -> bool:
        """The parameter is not quantised, and is on the device that computes blends."""
        return self.scale is None and self.parameter.device == self.device


def restore(layers: Sequence[Layer]) -> None:
    """Put the pristine weights back, bit for bit; quantised layers are quantised anew."""
    plain = [(layer, layer.parameter.is_contiguous()) for layer in layers if layer.scale is None]
    # One pair of different strides makes _foreach_copy_ copy one by one: channels-last layers are copied separately.
    for contiguous in (True, False):
        alike = [layer for layer, is_contiguous in plain if is_contiguous is contiguous]
        if alike:
            torch._foreach_copy_([layer.parameter for layer in alike], [layer.as_stored for layer in alike])
    for stack in _stacks([layer for layer in layers if layer.scale is not None]):
        matrices = torch.empty((len(stack), *stack[0].shape), dtype=torch.float32, device=stack[0].device)
        torch._foreach_copy_(list(matrices.unbind(0)), [layer.untouched for layer in stack], non_blocking=True)
        write_rounded(stack, matrices)


def write_rounded(layers: Sequence[Layer], matrices: Tensor) -> None:
    """`Layer.write` for layers of one shape and format, of (layers, rows, columns) float32, which are overwritten."""
    scales = [layer.scale for layer in layers if layer.scale is not None]
    numbers, scale = rounded(matrices.flatten(0, 1), layers[0].parameter.dtype, scales[0].dtype, used_up=True)
    _spread(numbers, [layer.parameter for layer in layers])
    _spread(scale, scales)


def _spread(values: Tensor, targets: list[Tensor]) -> None:
    """Copy consecutive parts of `values` into targets of one shape."""
    torch._foreach_copy_(targets, list(values.view(len(targets), *targets[0].shape).unbind(0)))


def _stacks(layers: Iterable[Layer]) -> Iterator[list[Layer]]:
    """Groups of one shape and format, of at most STACK_BYTES in float32 each."""
    alike: dict[tuple[object, ...], list[Layer]] = {}
    for layer in layers:
        key = (layer.parameter.dtype, layer.parameter.shape, layer.parameter.device, layer.device)
        alike.setdefault(key, []).append(layer)
    for group in alike.values():
        length = max(1, STACK_BYTES // (4 * group[0].parameter.numel()))
        yield from (group[at : at + length] for at in range(0, len(group), length))


def layers_of(components: Mapping[str, nn.Module], device: torch.device | None = None) -> dict[str, Layer]:
    """Every weight by component-prefixed name, as in checkpoint files; blends are computed on `device`, or its own."""
    return {
        layer.name: layer for component, module in components.items() for layer in _layers(component, module, device)
    }


def _layers(component: str, module: nn.Module, device: torch.device | None) -> Iterator[Layer]:
    for at, owner in module.named_modules():
        for path, parameter in owner.named_parameters(at, recurse=False):
            # torch.compile's wrapper adds a level to names.
            name = published_name(component, path.replace("_orig_mod.", ""))
            quantised = quantised_weight(owner, parameter)
            computed_on = device or parameter.device
            if quantised is not None:
                yield Layer(name, parameter.detach(), computed_on, quantised.scale, quantised.original)
            elif parameter.is_floating_point() and parameter.dim() > 0:
                yield Layer(name, parameter.detach(), computed_on)


class PristineStore:
    """Keeps pristine copies where `home` and the ledger allow: on the device, else in (page-locked) host memory.

    Those on the device count in two tiers: in VRAM, and in PRISTINE_VRAM, which limits such copies.
    """

    def __init__(self, ledger: Ledger, home: PristineHome, name: str) -> None:
        self._ledger = ledger
        self._home = home
        self._name = name
        self._device_full = False
        self._placed: set[Layer] = set()
        self._host: HostMemory | None = None

    def keep(self, layers: Iterable[Layer]) -> None:
        """Make each layer's pristine copy, unless there is one; a quantised layer's copy may only move to the device.

        Raises DoesNotFit when `home` is "device" and there is no room.
        """
        for layer in [layer for layer in layers if layer not in self._placed]:
            self._keep(layer)

    def count(self, layers: Iterable[Layer]) -> None:
        """Account for layers that have a copy in host memory from the start."""
        for layer in layers:
            if layer.pristine is not None:
                self._ledger.hold(PRISTINE_HOST, self._key(layer), layer.pristine.nbytes)

    def forget(self, layer: Layer) -> None:
        """Drop the layer's copy; its weights can then not be restored."""
        self._placed.discard(layer)
        key = self._key(layer)
        self._ledger.unpin(key)
        self._drop(key, (*DEVICE_TIERS, PRISTINE_HOST))
        layer.pristine = None

    def _keep(self, layer: Layer) -> None:
        self._ledger.pin(self._key(layer))
        try:
            self._place(layer)
        except BaseException:
            if layer.scale is None:
                self.forget(layer)
            raise
        self._placed.add(layer)

    def _place(self, layer: Layer) -> None:
        if self._home != "host" and layer.parameter.device == layer.device and not self._device_full:
            try:
                self._on_device(layer)
                return
            except Exception as error:
                self._drop(self._key(layer), DEVICE_TIERS)
                if self._home == "device" or not (isinstance(error, DoesNotFit) or out_of_memory(error)):
                    raise
                self._device_full = out_of_memory(error)
        if layer.pristine is None:
            matrix = layer.parameter.reshape(layer.shape)
            layer.pristine = self._in_host(self._key(layer), matrix, layer.device)

    def _on_device(self, layer: Layer) -> None:
        key = self._key(layer)
        for tier in DEVICE_TIERS:
            self._ledger.hold(tier, key, layer.original_bytes)
        if layer.pristine is None:
            layer.pristine = layer.parameter.reshape(layer.shape).clone(memory_format=torch.contiguous_format)
        else:
            # The module refers to the same tensor, so replacing its data frees the host memory.
            layer.pristine.data = layer.pristine.data.to(layer.device)
            self._ledger.drop(PRISTINE_HOST, key)

    def _in_host(self, key: Hashable, matrix: Tensor, device: torch.device) -> Tensor:
        self._ledger.hold(PRISTINE_HOST, key, matrix.nbytes)
        self._host = self._host or HostMemory(device)
        piece = self._host.piece(aligned(matrix.nbytes))[: matrix.nbytes]
        return piece.view(matrix.dtype).view(matrix.shape).copy_(matrix)

    def _drop(self, key: Hashable, tiers: Sequence[str]) -> None:
        for tier in tiers:
            self._ledger.drop(tier, key)

    def _key(self, layer: Layer) -> Hashable:
        return ("pristine", self._name, layer.name)
