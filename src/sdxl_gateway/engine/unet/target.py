"""Takes a model and its arguments, gives a description of what to compile, which can be passed to another process."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from sdxl_gateway.engine.unet.calls import Call

Code = Callable[..., Any]
"""Compiled code: called with a model, followed by the model's arguments."""


@dataclass(frozen=True, slots=True, eq=False)
class CompileTarget:
    """Code to be compiled: what `function` does with a model and arguments of these shapes, dtypes and layouts."""

    function: Code
    model: nn.Module
    inputs: tuple[Any, ...]
    others: Mapping[str, Any]

    @classmethod
    def of_unet(cls, unet: nn.Module, call: Call) -> CompileTarget:
        """For calls of the UNet like `call`; its numbers do not matter."""
        inputs, others = call.spread()
        return cls(_forward, unet, inputs, others)

    @classmethod
    def of_decode(cls, vae: nn.Module, latents: Tensor) -> CompileTarget:
        """For decoding latents of that shape and dtype."""
        return cls(_decode, vae, (latents,), {})

    def run(self, code: Code) -> Any:
        """The result of `code` for these very arguments."""
        return code(self.model, *self.inputs, **self.others)


@torch.inference_mode(False)
def traceable(model: nn.Module) -> nn.Module:
    """A copy of the modules that shares the tensors' memory, so that nothing changes or moves them during a trace."""
    shared = {id(tensor): _alias(tensor) for module in model.modules() for tensor in _tensors(module)}
    return deepcopy(model, shared)


def pickled(target: CompileTarget) -> bytes:
    """Pickled without the tensors' numbers: some megabytes for a UNet. Raises pickle's errors for local functions."""
    written = io.BytesIO()
    _Pickler(written, pickle.HIGHEST_PROTOCOL).dump(target)
    return written.getvalue()


def unpickled(data: bytes) -> CompileTarget:
    """From `pickled` data, which must be of this process or its parent; its tensors have no memory."""
    target: CompileTarget = _Unpickler(io.BytesIO(data)).load()
    return target


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> object:
        if not isinstance(value, Tensor):
            return None
        return id(value), value.shape, value.stride(), value.dtype, str(value.device), isinstance(value, nn.Parameter)

    def reducer_override(self, value: Any) -> Any:
        """Methods by function and instance: a layer's own `forward` is not an attribute of its class."""
        return (_method, (value.__func__, value.__self__)) if isinstance(value, MethodType) else NotImplemented


def _method(function: Code, layer: Any) -> MethodType:
    return MethodType(function, layer)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._tensors: dict[int, Tensor] = {}

    def persistent_load(self, persistent_id: Any) -> Tensor:
        """Tensors shared in the original are shared again."""
        number, *layout = persistent_id
        if number not in self._tensors:
            self._tensors[number] = _without_memory(*layout)
        return self._tensors[number]


def _without_memory(
    shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype, device: str, is_parameter: bool
) -> Tensor:
    tensor = torch.empty_strided(shape, stride, dtype=dtype, device=device)
    tensor.untyped_storage().resize_(0)
    return nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)
    yield from (value for value in vars(module).values() if isinstance(value, Tensor))


def _alias(tensor: Tensor) -> Tensor:
    return nn.Parameter(tensor.detach(), requires_grad=False) if isinstance(tensor, nn.Parameter) else tensor.detach()


def _forward(unet: Any, *inputs: Any, **others: Any) -> Any:
    return unet(*inputs, **others)


def _decode(vae: Any, latents: Tensor) -> Any:
    return vae.decode(latents, return_dict=False)[0]
