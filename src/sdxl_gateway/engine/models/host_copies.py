"""Takes checkpoints just read, keeps a copy of their weights in host memory, from which they return to the device fast.

The copies are the files' own weights, without any blend. On a CPU both tiers are the same memory, but a copy still
saves reading the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.engine.memory.host_buffer import HostBuffer
from sdxl_gateway.engine.memory.ledger import HOST, Ledger
from sdxl_gateway.engine.models.checkpoint import Checkpoint, plain_decoder


class CopyKey(NamedTuple):
    """The ledger's key of a copy; the model on the device, which recipes pin, is another entry."""

    kind: str
    name: str


@dataclass(slots=True)
class _Kept:
    """A checkpoint's weights, side by side in the order of its tensors, and its modules while it is off the device.

    `like` are meta tensors of their shapes, dtypes and strides.
    """

    weights: HostBuffer
    like: list[Tensor]
    modules: Checkpoint | None = None


class HostCopies:
    """Entries of the ledger's host tier, evicted as others need room. `get` and `keep` are called on one thread.

    A checkpoint that leaves the device is kept here as modules without memory, so that none need be built when it
    returns.
    """

    def __init__(self, kind: str, ledger: Ledger, device: torch.device) -> None:
        self._kind = kind
        self._ledger = ledger
        self._device = device
        self._kept: dict[str, _Kept] = {}

    def has(self, name: str) -> bool:
        """`get` would give it."""
        kept = self._kept.get(name)
        return kept is not None and kept.modules is not None

    def get(self, name: str) -> Checkpoint | None:
        """The checkpoint, copied to the device again; None if it is not kept here."""
        kept = self._kept.get(name)
        if kept is None or kept.modules is None:
            return None
        checkpoint, kept.modules = kept.modules, None
        self._ledger.touch(HOST, CopyKey(self._kind, name))
        start = 0
        for tensor, like in zip(_tensors(checkpoint), kept.like, strict=True):
            tensor.data = torch.empty_like(like, device=self._device)
            kept.weights.fetch(start, _bytes(tensor.data))
            start += like.nbytes
        return checkpoint

    def keep(self, checkpoint: Checkpoint) -> None:
        """Copy its weights as they are now, if the budget allows."""
        if self._device.type == "mps" or not checkpoint.placement.is_plain:
            # MPS shares the host's memory, and its tensors cannot replace CPU ones; other placements use host memory.
            return
        name, tensors = checkpoint.name, list(_tensors(checkpoint))
        key, size_bytes = CopyKey(self._kind, name), sum(tensor.nbytes for tensor in tensors)
        cost_bytes = HostBuffer.cost_bytes(size_bytes, pinned=self._page_locked)
        try:
            self._ledger.hold(HOST, key, cost_bytes, lambda: self._evicted(name))
        except DoesNotFit:
            return
        try:
            self._kept[name] = self._copy(tensors, size_bytes)
        except BaseException:
            self._ledger.drop(HOST, key)
            raise
        # If it was evicted between `hold` and now, its callback has run already and found nothing to remove.
        if not self._ledger.holds(HOST, key):
            self._kept.pop(name, None)

    def release(self, checkpoint: Checkpoint) -> None:
        """Free its memory, even if its modules are still referenced; keep the modules of a checkpoint copied here."""
        for tensor in _tensors(checkpoint):
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        kept = self._kept.get(checkpoint.name)
        if kept is not None:
            kept.modules = replace(checkpoint, denoiser=checkpoint.unet, decoder=plain_decoder(checkpoint.vae))

    @property
    def _page_locked(self) -> bool:
        return self._device.type == "cuda"

    def _copy(self, tensors: Sequence[Tensor], size_bytes: int) -> _Kept:
        weights, start = HostBuffer.of(size_bytes, pinned=self._page_locked), 0
        for tensor in tensors:
            weights.keep(start, _bytes(tensor.data))
            start += tensor.nbytes
        return _Kept(weights, [torch.empty_like(tensor, device="meta") for tensor in tensors])

    def _evicted(self, name: str) -> None:
        self._kept.pop(name, None)


def _tensors(checkpoint: Checkpoint) -> Iterator[Tensor]:
    modules = (*checkpoint.blendable().values(), checkpoint.vae)
    return chain.from_iterable(chain(module.parameters(), module.buffers()) for module in modules)


def _bytes(tensor: Tensor) -> Tensor:
    """Its memory as (bytes,) uint8, in storage order; the tensor must be dense, whatever its strides."""
    return tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8)
