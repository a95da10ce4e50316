"""Measures the peak of allocated bytes in a call on meta tensors, without memory or arithmetic."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


# torch's constructor is untyped.
class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts each storage that an operation allocates, until nothing refers to it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive_bytes = self.peak_bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(found):
            if _storage(tensor) not in given | self._known:
                self._made(tensor)
        return found

    def _made(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._known.add(storage._cdata)
        self.alive_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.alive_bytes)
        weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, key: int, size_bytes: int) -> None:
        self._known.discard(key)
        self.alive_bytes -= size_bytes


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """Like a fused kernel: without a matrix of scores."""
    return torch.empty_like(query)


@torch.no_grad()
def peak_bytes(call: Callable[[], object]) -> int:
    """The peak of `call` above what was allocated before."""
    allocations = Allocations()
    with patch.object(functional, "scaled_dot_product_attention", _attention), allocations:
        call()
    return allocations.peak_bytes
