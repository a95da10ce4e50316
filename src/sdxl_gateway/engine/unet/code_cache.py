"""Takes what is to be compiled, gives the code from a cache folder, having it compiled to a file there first if needed.

A file's name is a digest of all that its code depends on, so a file found needs no check. Files of other versions stay;
the folder may be deleted at any time.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Hashable, Iterator
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FunctionType

import torch
from torch import Tensor

from sdxl_gateway.engine.unet.compiled import load_code, make_of
from sdxl_gateway.engine.unet.target import Code, CompileTarget
from sdxl_gateway.telemetry.device import describe_device

log = logging.getLogger(__name__)

Make = Callable[[CompileTarget, Path], bool]
"""Compiles to the file; gives whether it exists now."""
OWN = Path(__file__).parents[1]
LIBRARIES = ("torch", "triton", "diffusers", "transformers")
SWITCHES = ("TORCHINDUCTOR_", "TORCHDYNAMO_", "TRITON_")
"""Environment variables that change compiled code, but for those ending in NO_SWITCHES."""
NO_SWITCHES = ("_DIR", "_THREADS")


class CodeCache:
    """Code that loads in a moment, where compiling it takes minutes."""

    def __init__(self, folder: Path, make: Make) -> None:
        self._folder = folder
        self._make = make

    def code(self, target: CompileTarget) -> Code | None:
        """Code not yet called; None if it could not be compiled or loaded."""
        path = self._folder / f"{cache_key(target)}.code"
        return _read(path) or (_read(path) if self._make(target, path) else None)


def _read(path: Path) -> Code | None:
    """None if the file is missing, or cannot be loaded and is deleted."""
    try:
        with path.open("rb") as file:
            return load_code(file)
    except FileNotFoundError:
        return None
    except Exception as error:
        log.warning("cached compiled code cannot be loaded and is compiled anew: %s", error)
        path.unlink(missing_ok=True)
        return None


def cache_key(target: CompileTarget) -> str:
    """A digest of all that its code depends on."""
    (device,) = {tensor.device for tensor in target.inputs}
    values = (target.function, make_of(target.model), *_processors(target), target.inputs, tuple(target.others.items()))
    texts = [*map(_stable_text, values), _hardware(device), _libraries(), _switches()]
    return sha256("\n".join([*texts, _own_source()]).encode()).hexdigest()[:32]


def _stable_text(value: object) -> str:
    """A description that is the same in every process; of a tensor without its numbers."""
    match value:
        case Tensor():
            return f"{value.dtype} {tuple(value.shape)} {value.stride()}"
        case dict():
            return _stable_text(tuple(value.items()))
        case tuple():
            return f"({', '.join(map(_stable_text, value))})"
        case type() | FunctionType():
            return f"{value.__module__}.{value.__qualname__}"
    return repr(value)


def _processors(target: CompileTarget) -> Iterator[Hashable]:
    """The attention processors' types: `make_of` misses them, as they are not modules."""
    processors = getattr(target.model, "attn_processors", {})
    yield tuple((name, type(processor)) for name, processor in processors.items())


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        summed_in_half = torch.backends.cuda.matmul.allow_fp16_accumulation
        name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        return f"{name}, {capability}, CUDA {torch.version.cuda}, {summed_in_half}"
    return f"{describe_device('cpu')}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def _switches() -> str:
    names = sorted(name for name in os.environ if name.startswith(SWITCHES) and not name.endswith(NO_SWITCHES))
    return repr([(name, os.environ[name]) for name in names])


@cache
def _libraries() -> str:
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in LIBRARIES)])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


@cache
def _own_source() -> str:
    """A digest of this engine's source, any of which may be traced into the code."""
    digest = sha256()
    for path in sorted(OWN.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
