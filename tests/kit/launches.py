"""Counts what calls on meta tensors would ask of a device: launches, bytes moved, waits of the host."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

VIEWS = {
    "view",
    "_unsafe_view",
    "transpose",
    "t",
    "permute",
    "expand",
    "unsqueeze",
    "slice",
    "select",
    "split",
    "unbind",
}
NO_LAUNCH = VIEWS | {"detach", "alias", "empty", "empty_strided", "lift_fresh"}
READS_BACK = frozenset({"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select"})
COPIES = frozenset({"_to_copy", "copy_", "_foreach_copy_"})


# torch's constructor is untyped.
class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Meta tensors are on the device, CPU tensors on the host. Each operation is one launch, also on a list of tensors.

    `waits` counts blocking copies between the two, and values read back; `uploads` counts all of these copies; `bytes`
    is what launches read and write on the device.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_name: Counter[str] = Counter()
        self.waits = self.bytes = self.uploads = 0

    @property
    def launches(self) -> int:
        """The total."""
        return sum(self.by_name.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        read, written = _traffic(name, args, kwargs, found)
        devices = {tensor.device.type for tensor in (*read, *written)}
        if "meta" in devices and name not in NO_LAUNCH:
            self.by_name[name] += 1
            self.bytes += sum(tensor.nbytes for tensor in (*read, *written) if tensor.device.type == "meta")
            crossing = name in COPIES and "cpu" in devices
            self.uploads += crossing
            self.waits += name in READS_BACK or (crossing and not _non_blocking(func, args, kwargs))
        return found


def _traffic(name: str, args: Any, kwargs: Any, found: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that an operation reads and those it writes; an in-place operation does both to one."""
    if name in ("copy_", "_foreach_copy_"):
        return _tensors(args[1]), _tensors(args[0])
    read = _tensors((args, {key: value for key, value in kwargs.items() if key != "out"}))
    return read, _tensors(found) or _tensors(args[0])


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _non_blocking(func: Any, args: Any, kwargs: Any) -> bool:
    if kwargs and "non_blocking" in kwargs:
        return bool(kwargs["non_blocking"])
    at = [argument.name for argument in func._schema.arguments]
    return "non_blocking" in at and len(args) > at.index("non_blocking") and bool(args[at.index("non_blocking")])
