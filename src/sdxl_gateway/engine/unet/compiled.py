"""Takes a model and a call, gives code compiled for just that, which serves every model of its make.

Weights are inputs of the code and are written in place, so no blend compiles anything again. Which call the code is for
is looked up before it is called: torch's guards, which would take longer than a small step, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from copy import deepcopy
from itertools import chain
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from sdxl_gateway.engine.unet.calls import Call, Form

Backend = str | Callable[..., Any]
Code = Callable[..., Any]
"""Called with a UNet and what that is called with."""
Codes = dict[tuple[Form, int], Code]
"""By a call's form and rows."""


def compile_decode(vae: Any, latents: Tensor, backend: Backend) -> Code:
    """As `compile_for`; the code is called with a VAE and latents of that shape and format, and gives pixels."""
    code = _compiler(_decode.__code__, backend)
    code(vae, latents)
    return code


def compile_for(unet: nn.Module, call: Call, backend: Backend) -> Code:
    """Traces and compiles, which takes a minute or so; the code is called once. Raises what the compiler raises."""
    code = _compiler(_forward.__code__, backend)
    call.made(lambda *inputs, **others: code(unet, *inputs, **others))
    return code


@torch.inference_mode(False)
def traceable(model: nn.Module) -> nn.Module:
    """A model of modules of its own on the same memory: nobody changes a module, or takes its weights, amid a trace."""
    shared = {id(tensor): _alias(tensor) for module in model.modules() for tensor in _tensors(module)}
    return deepcopy(model, shared)


def make_of(model: nn.Module) -> Hashable:
    """Equal for models that one code fits: of the same layers, in the same formats and layouts."""
    config = {name: value for name, value in dict(getattr(model, "config", {})).items() if not name.startswith("_")}
    layers = tuple((name, type(module), _function(module)) for name, module in model.named_modules())
    tensors = chain(model.named_parameters(), model.named_buffers())
    weights = tuple((name, tensor.dtype, tensor.shape, tensor.stride()) for name, tensor in tensors)
    return repr(sorted(config.items())), layers, weights


def _compiler(code: CodeType, backend: Backend) -> Code:
    """Each time of a code object of its own: torch keeps what it compiled by code object, a few a piece."""
    own = FunctionType(code.replace(), globals())
    options: dict[str, str | int | bool | Callable[..., Any]] = {"guard_filter_fn": _no_guards}
    found: Code = torch.compile(own, fullgraph=True, dynamic=False, backend=backend, options=options)
    return found


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


def _no_guards(guards: Sequence[Any]) -> list[bool]:
    return [False] * len(guards)


def _function(module: nn.Module) -> Hashable:
    """A layer that computes in another format has a `forward` of its own, one function for all such layers."""
    return getattr(module.forward, "__func__", module.forward)
