"""Takes what code is wanted for, gives it from a folder of files; what is not there yet is made there first.

A file's name says all that its code depends on, so what is found needs no proof. Files of other versions stay; the
folder may be deleted at any time.
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

from sdxl_gateway.engine.unet.compiled import loaded, make_of
from sdxl_gateway.engine.unet.wanted import Code, Wanted
from sdxl_gateway.telemetry.device import describe_device

log = logging.getLogger(__name__)

Make = Callable[[Wanted, Path], bool]
"""Makes the file of such code; whether it is there now."""
OWN = Path(__file__).parents[1]
LIBRARIES = ("torch", "triton", "diffusers", "transformers")
SWITCHES = ("TORCHINDUCTOR_", "TORCHDYNAMO_", "TRITON_")
"""The environment has much to say to a compiler; where it keeps things, and how many work for it, changes no code."""
NO_SWITCHES = ("_DIR", "_THREADS")


class KeptCodes:
    """Code that loads in a moment, where compiling it takes minutes."""

    def __init__(self, folder: Path, make: Make) -> None:
        self._folder = folder
        self._make = make

    def code(self, wanted: Wanted) -> Code | None:
        """None where it could not be made, or is of no use here. It has not been called yet."""
        path = self._folder / f"{known_by(wanted)}.code"
        return _read(path) or (_read(path) if self._make(wanted, path) else None)


def _read(path: Path) -> Code | None:
    """None of a file that is not there; one of no use goes."""
    try:
        with path.open("rb") as file:
            return loaded(file)
    except FileNotFoundError:
        return None
    except Exception as error:
        log.warning("code that was kept is of no use, and is made anew: %s", error)
        path.unlink(missing_ok=True)
        return None


def known_by(wanted: Wanted) -> str:
    """A digest of all that its code depends on."""
    (device,) = {tensor.device for tensor in wanted.inputs}
    told = [_told(part) for part in (wanted.function, make_of(wanted.model), *_processors(wanted), wanted.inputs)]
    told += [_told(tuple(wanted.others.items())), _place(device), _libraries(), _switches()]
    return sha256("\n".join([*told, _own_source()]).encode()).hexdigest()[:32]


def _told(value: object) -> str:
    """In words that are the same in every process."""
    match value:
        case Tensor():
            return f"{value.dtype} {tuple(value.shape)} {value.stride()}"
        case dict():
            return _told(tuple(value.items()))
        case tuple():
            return f"({', '.join(map(_told, value))})"
        case type() | FunctionType():
            return f"{value.__module__}.{value.__qualname__}"
    return repr(value)


def _processors(wanted: Wanted) -> Iterator[Hashable]:
    """Of attentions: they are no modules, and compute all the same."""
    found = getattr(wanted.model, "attn_processors", {})
    yield tuple((name, type(processor)) for name, processor in found.items())


def _place(device: torch.device) -> str:
    if device.type == "cuda":
        summed_in_half = torch.backends.cuda.matmul.allow_fp16_accumulation
        name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        return f"{name}, {capability}, CUDA {torch.version.cuda}, {summed_in_half}"
    return f"{describe_device('cpu')}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def _switches() -> str:
    told = sorted(one for one in os.environ.items() if one[0].startswith(SWITCHES) and not one[0].endswith(NO_SWITCHES))
    return repr(told)


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
    """What of ours may be part of the code."""
    found = sha256()
    for path in sorted(OWN.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()
