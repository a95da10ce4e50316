"""Takes a model and what it is called with, gives what code is to be compiled for, in memory of its own or in none."""

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
"""Called with a model and what that is called with."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Code that does what `function` does of a model and `inputs` and `others` such as these."""

    function: Code
    model: nn.Module
    inputs: tuple[Any, ...]
    others: Mapping[str, Any]

    @classmethod
    def of_unet(cls, unet: nn.Module, call: Call) -> Wanted:
        """Such a call of the UNet, whatever numbers are in it."""
        inputs, others = call.spread()
        return cls(_forward, unet, inputs, others)

    @classmethod
    def of_decode(cls, vae: nn.Module, latents: Tensor) -> Wanted:
        """Pixels of latents of that shape and format."""
        return cls(_decode, vae, (latents,), {})

    def done_by(self, code: Code) -> Any:
        """What the code gives of just these."""
        return code(self.model, *self.inputs, **self.others)


@torch.inference_mode(False)
def traceable(model: nn.Module) -> nn.Module:
    """A model of modules of its own on the same memory: nobody changes a module, or takes its weights, amid a trace."""
    shared = {id(tensor): _alias(tensor) for module in model.modules() for tensor in _tensors(module)}
    return deepcopy(model, shared)


def outlined(wanted: Wanted) -> bytes:
    """All of it but the numbers: some megabytes for a UNet. Raises what pickle raises of functions without a name."""
    written = io.BytesIO()
    _Outliner(written, pickle.HIGHEST_PROTOCOL).dump(wanted)
    return written.getvalue()


def hollow(outline: bytes) -> Wanted:
    """Of an outline, which this process or its parent made: tensors take no memory, and hold nothing."""
    found: Wanted = _Reader(io.BytesIO(outline)).load()
    return found


class _Outliner(pickle.Pickler):
    def persistent_id(self, value: Any) -> object:
        if not isinstance(value, Tensor):
            return None
        return id(value), value.shape, value.stride(), value.dtype, str(value.device), isinstance(value, nn.Parameter)

    def reducer_override(self, value: Any) -> Any:
        """A layer's own `forward` is a method of a function that is none of its class's."""
        return (_method, (value.__func__, value.__self__)) if isinstance(value, MethodType) else NotImplemented


def _method(function: Code, layer: Any) -> MethodType:
    return MethodType(function, layer)


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._made: dict[int, Tensor] = {}

    def persistent_load(self, told: Any) -> Tensor:
        number, *form = told
        if number not in self._made:
            self._made[number] = _without_memory(*form)
        return self._made[number]


def _without_memory(
    shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype, device: str, is_parameter: bool
) -> Tensor:
    found = torch.empty_strided(shape, stride, dtype=dtype, device=device)
    found.untyped_storage().resize_(0)
    return nn.Parameter(found, requires_grad=False) if is_parameter else found


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
