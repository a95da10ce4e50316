"""Tensors that pretend to be on a CUDA device, and record what would be asked of it.

They are computed on the CPU. These wait for CUDA: a copy from the device; a copy to it that is not non-blocking, or
from memory that is not page-locked; and whatever needs a value, or a count of values, before it goes on.
Mixing devices is an error, as in torch, except for the host's single numbers that a kernel takes as arguments.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

CUDA, HOST = torch.device("cuda", 0), torch.device("cpu")
WAITING = {
    "_linalg_check_errors",
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
"""ATen operators that read a value back before they return."""
LAUNCH_NOTHING = {"detach", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty", "new_empty_strided"}
WHOLE = {"scaled_dot_product_attention"}
"""Composite operators, whose parts differ between devices."""
PLACED = {"index", "index_put", "index_put_", "_index_put_impl_"}
LIBRARIES = ("sdxl_gateway", "diffusers", "transformers")


@dataclass(slots=True)
class Watched:
    """What was asked of the device: `waits` are reason and place of each wait of the host, `launches` its kernels,
    `uploads` the shapes that were copied to it."""

    waits: list[str] = field(default_factory=list)
    launches: list[str] = field(default_factory=list)
    uploads: list[tuple[int, ...]] = field(default_factory=list)


_watched: list[Watched] = []
"""All recordings in progress."""


@contextmanager
def watching() -> Iterator[Watched]:
    """Record what is asked of the device in this context."""
    watched = Watched()
    _watched.append(watched)
    try:
        yield watched
    finally:
        _watched.remove(watched)


class DeviceTensor(Tensor):
    """Pretends to be on the device; its values are those of `host`."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: Tensor) -> DeviceTensor:
        """Shares the memory of `host`."""
        made: DeviceTensor = Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=CUDA,
        )
        made.host = host
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"on the device: {self.host!r}"

    # torch types what it does without one, a plain function.
    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        name, kwargs = func.overloadpacket.__name__, dict(kwargs or {})
        implicit = torch._C.DispatchKey.CompositeImplicitAutograd
        if name not in WHOLE and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), implicit.name):
            return func._op_dk(implicit, *args, **kwargs)
        to_host = _goes_to_host(name, args, kwargs)
        _watch(func, args, kwargs, to_host=to_host)
        return _computed(func, args, kwargs, to_host=to_host)


def _computed(func: Any, args: Sequence[Any], kwargs: dict[str, Any], *, to_host: bool) -> Any:
    wrappers = {id(one.host): one for one in _tensors(args, kwargs) if isinstance(one, DeviceTensor)}
    if "device" in kwargs:
        kwargs["device"] = HOST
    found = func(*on_host(args), **on_host(kwargs))
    if to_host:
        return found
    return tree_map_only(Tensor, lambda one: wrappers[id(one)] if id(one) in wrappers else DeviceTensor(one), found)


def on_host(arguments: Any) -> Any:
    """The arguments, with host tensors in place of device tensors."""
    return tree_map_only(DeviceTensor, lambda one: one.host, arguments)


def _tensors(*arguments: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]


def _goes_to_host(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    if name == "copy_":
        return not isinstance(args[0], DeviceTensor)
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "cpu"


def _watch(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, to_host: bool) -> None:
    name = func.overloadpacket.__name__
    strangers = [one for one in _tensors(args, kwargs) if not isinstance(one, DeviceTensor)]
    if name in WAITING:
        wait(name)
    elif to_host:
        if not (_non_blocking(args, kwargs) and (name != "copy_" or is_pinned(args[0]))):
            wait(f"{name} to the host")
    elif name in PLACED:
        watch_places(name, args[1])
    elif name == "copy_" and strangers:
        watch_upload(strangers[0], non_blocking=_non_blocking(args, kwargs))
    else:
        refuse(name, strangers)
    if not (_is_view(func) or name in LAUNCH_NOTHING):
        launched(name)


def _non_blocking(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a copy is non-blocking, by a named or a positional argument."""
    return bool(kwargs.get("non_blocking", args[2] if len(args) > 2 else False))


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return any(one.alias_info is not None and not one.alias_info.is_write for one in returns)


def refuse(name: str, strangers: Sequence[Tensor]) -> None:
    """As torch does, unless each is a single number. Raises RuntimeError."""
    if any(one.ndim for one in strangers):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found at least two")


def launched(name: str) -> None:
    """Record the launch of a kernel."""
    for watched in _watched:
        watched.launches.append(name)


def wait(reason: str) -> None:
    """Record that the host waits."""
    for watched in _watched:
        watched.waits.append(f"{reason} at {_place()}")


def watch_places(name: str, indices: Sequence[Tensor | None]) -> None:
    """Indexing by a mask has to count its elements; indices on the host are copied to the device, blocking."""
    for one in indices:
        if one is not None and one.dtype in (torch.bool, torch.uint8):
            wait(f"{name} by a mask")
        elif one is not None and not isinstance(one, DeviceTensor):
            wait(f"{name} by places that are on the host")


def watch_upload(source: Tensor, *, non_blocking: bool) -> None:
    """Torch first makes a contiguous copy of a tensor that is not contiguous, which is not page-locked."""
    for watched in _watched:
        watched.uploads.append(tuple(source.shape))
    if not non_blocking:
        wait(f"blocking copy of {tuple(source.shape)}")
    elif not (is_pinned(source) and source.is_contiguous()):
        wait(f"copy of {tuple(source.shape)} that is not page-locked")


def is_pinned(tensor: Tensor) -> bool:
    """Whether it was made by `pinned`."""
    return bool(getattr(tensor.untyped_storage(), "pinned", False))


def pinned(tensor: Tensor) -> Tensor:
    """A copy that counts as page-locked."""
    found = tensor.clone()
    found.untyped_storage().pinned = True  # type: ignore[attr-defined]
    return found


def _place() -> str:
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.line}"
        for frame in traceback.extract_stack()
        if any(f"/{library}/" in frame.filename for library in LIBRARIES)
    ]
    return frames[-1] if frames else "nowhere"
