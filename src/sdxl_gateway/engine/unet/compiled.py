"""Takes what is to be compiled, gives the code, which serves every model of the same make.

Weights are inputs of the code and are written in place, so that no blend causes a recompilation. Callers look up the
code for a call's form and rows, so torch's guards, which would take longer than a small step, are left out.
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
from sdxl_gateway.engine.unet.target import Code, CompileTarget

Backend = str | Callable[..., Any]
Codes = dict[tuple[Form, int], Code]
"""By a call's form and number of rows."""


def compiled(target: CompileTarget, backend: Backend) -> Code:
    """Traces, compiles, and calls the code once, which takes a minute or so. Raises what the compiler raises."""
    code: Code = _compiler(target, backend)
    target.run(code)
    return code


def compile_ahead(target: CompileTarget, backend: Backend, path: Path) -> None:
    """Write the code to the file at `path`, whole or not at all. Nothing is computed: tensors may be without memory."""

    def keep(*inputs: Any, **others: Any) -> None:
        _compiler(target, backend).aot_compile((inputs, others)).save_compiled_function(str(path))

    with dynamo_config.patch(enable_aot_compile=True):  # needed before torch 2.12
        target.run(keep)


def load_code(file: IOBase) -> Code:
    """The code from such a file, without tracing. Raises torch's errors for a file that does not fit this process."""
    code: Any = torch.compiler.load_compiled_function(file)
    code.disable_guard_check()
    typed: Code = code
    return typed


def make_of(model: nn.Module) -> Hashable:
    """Equal for models that can share code: of the same layers, dtypes and memory layouts."""
    config = {name: value for name, value in dict(getattr(model, "config", {})).items() if not name.startswith("_")}
    layers = tuple((name, type(module), _function(module)) for name, module in model.named_modules())
    tensors = chain(model.named_parameters(), model.named_buffers())
    weights = tuple((name, tensor.dtype, tensor.shape, tensor.stride()) for name, tensor in tensors)
    return repr(sorted(config.items())), layers, weights


def _compiler(target: CompileTarget, backend: Backend) -> Any:
    """Compiles a copy with a code object of its own, as torch caches only a few compilations for each code object."""
    function: Any = target.function
    own = FunctionType(function.__code__.replace(), function.__globals__)
    options: dict[str, str | int | bool | Callable[..., Any]] = {"guard_filter_fn": _no_guards}
    return torch.compile(own, fullgraph=True, dynamic=False, backend=backend, options=options)


def _no_guards(guards: Sequence[Any]) -> list[bool]:
    return [False] * len(guards)


def _function(module: nn.Module) -> Hashable:
    """The function behind a layer's forward, which may be an attribute of the instance (memory/quantised.py)."""
    return getattr(module.forward, "__func__", module.forward)
