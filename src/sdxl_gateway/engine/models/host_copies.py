"""Takes checkpoints as they were read, keeps their weights in host memory: one copy away from the device.

What is kept are the files' own weights: no blend is ever put on them. On a CPU both tiers are the same memory, where a
copy still saves the reading.
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
    """What the ledger calls a copy; the model itself, which others pin, is another entry."""

    kind: str
    name: str


@dataclass(slots=True)
class _Kept:
    """A checkpoint's weights, side by side in the order of its tensors, and its modules while they are off the device.

    `like` are those tensors without numbers.
    """

    weights: HostBuffer
    like: list[Tensor]
    resting: Checkpoint | None = None


class HostCopies:
    """Entries of the ledger's host tier, which leave as others need room. `get` and `keep` are for one thread.

    A checkpoint that leaves the device rests here as modules without a device's memory, so that nothing has to be built
    when it returns.
    """

    def __init__(self, kind: str, ledger: Ledger, device: torch.device) -> None:
        self._kind = kind
        self._ledger = ledger
        self._device = device
        self._kept: dict[str, _Kept] = {}

    def has(self, name: str) -> bool:
        """`get` would have it."""
        kept = self._kept.get(name)
        return kept is not None and kept.resting is not None

    def get(self, name: str) -> Checkpoint | None:
        """The checkpoint that rests here, on the device again; None where there is none."""
        kept = self._kept.get(name)
        if kept is None or kept.resting is None:
            return None
        checkpoint, kept.resting = kept.resting, None
        self._ledger.touch(HOST, CopyKey(self._kind, name))
        start = 0
        for tensor, like in zip(_tensors(checkpoint), kept.like, strict=True):
            tensor.data = torch.empty_like(like, device=self._device)
            kept.weights.fetch(start, _bytes(tensor.data))
            start += like.nbytes
        return checkpoint

    def keep(self, checkpoint: Checkpoint) -> None:
        """Copy its weights as they are now, where the budget lets it."""
        if self._device.type == "mps" or not checkpoint.placement.is_plain:
            # Its memory is the host's, and its tensors cannot take the place of the CPU's; or host memory has them now.
            return
        name, tensors = checkpoint.name, list(_tensors(checkpoint))
        key, size_bytes = CopyKey(self._kind, name), sum(tensor.nbytes for tensor in tensors)
        cost_bytes = HostBuffer.cost_bytes(size_bytes, pinned=self._page_locked)
        try:
            self._ledger.hold(HOST, key, cost_bytes, lambda: self._evicted(name))
        except DoesNotFit:
            return
        try:
            self._kept[name] = self._copied(tensors, size_bytes)
        except BaseException:
            self._ledger.drop(HOST, key)
            raise
        # Evicted again between the ledger's leave and now: nobody would take it out any more.
        if not self._ledger.holds(HOST, key):
            self._kept.pop(name, None)

    def leave(self, checkpoint: Checkpoint) -> None:
        """The checkpoint's memory is free at once, whoever still holds its modules; they rest where it is kept."""
        for tensor in _tensors(checkpoint):
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        kept = self._kept.get(checkpoint.name)
        if kept is not None:
            kept.resting = replace(checkpoint, denoiser=checkpoint.unet, decoder=plain_decoder(checkpoint.vae))

    @property
    def _page_locked(self) -> bool:
        return self._device.type == "cuda"

    def _copied(self, tensors: Sequence[Tensor], size_bytes: int) -> _Kept:
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
    """What lies in its memory, (bytes,) uint8: its numbers in the order of its strides, among which is no gap."""
    return tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8)
