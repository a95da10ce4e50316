"""Takes what code is wanted for, gives code compiled for just that, which serves every model of its make.

Weights are inputs of the code and are written in place, so no blend compiles anything again. Which call the code is for
is looked up before it is called: torch's guards, which would take longer than a small step, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from io import IOBase
from itertools import chain
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch._dynamo import config as dynamo_config

from sdxl_gateway.engine.unet.calls import Form
from sdxl_gateway.engine.unet.wanted import Code, Wanted

Backend = str | Callable[..., Any]
Codes = dict[tuple[Form, int], Code]
"""By a call's form and rows."""


def compiled(wanted: Wanted, backend: Backend) -> Code:
    """Traces and compiles, which takes a minute or so; the code is called once. Raises what the compiler raises."""
    code: Code = _compiler(wanted, backend)
    wanted.done_by(code)
    return code


def compile_ahead(wanted: Wanted, backend: Backend, path: Path) -> None:
    """The code as a file, whole or not at all. Nothing is computed, so tensors without memory will do."""

    def keep(*inputs: Any, **others: Any) -> None:
        _compiler(wanted, backend).aot_compile((inputs, others)).save_compiled_function(str(path))

    with dynamo_config.patch(enable_aot_compile=True):  # before torch 2.12 it has to be said
        wanted.done_by(keep)


def loaded(file: IOBase) -> Code:
    """The code of such a file; nothing is traced. Raises what torch raises of one that does not fit this process."""
    code: Any = torch.compiler.load_compiled_function(file)
    code.disable_guard_check()
    found: Code = code
    return found


def make_of(model: nn.Module) -> Hashable:
    """Equal for models that one code fits: of the same layers, in the same formats and layouts."""
    config = {name: value for name, value in dict(getattr(model, "config", {})).items() if not name.startswith("_")}
    layers = tuple((name, type(module), _function(module)) for name, module in model.named_modules())
    tensors = chain(model.named_parameters(), model.named_buffers())
    weights = tuple((name, tensor.dtype, tensor.shape, tensor.stride()) for name, tensor in tensors)
    return repr(sorted(config.items())), layers, weights


def _compiler(wanted: Wanted, backend: Backend) -> Any:
    """Each time of a code object of its own: torch keeps what it compiled by code object, a few a piece."""
    function: Any = wanted.function
    own = FunctionType(function.__code__.replace(), function.__globals__)
    options: dict[str, str | int | bool | Callable[..., Any]] = {"guard_filter_fn": _no_guards}
    return torch.compile(own, fullgraph=True, dynamic=False, backend=backend, options=options)


def _no_guards(guards: Sequence[Any]) -> list[bool]:
    return [False] * len(guards)


def _function(module: nn.Module) -> Hashable:
    """A layer that computes in another format has a `forward` of its own, one function for all such layers."""
    return getattr(module.forward, "__func__", module.forward)
