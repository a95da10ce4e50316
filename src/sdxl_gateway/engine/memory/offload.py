"""Takes modules, keeps their weights in host memory, and copies each part's to the device while its forward runs.

Parts are copied into two buffers alternately: while one computes, the next is copied on a stream of its own. The host
never waits: streams wait for each other's events. The weights in host memory keep their addresses, so that blends are
written to them as to any other weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sdxl_gateway.engine.streams import new_stream

PART_BYTES = 128 * 2**20
"""Modules larger than this are split into their children, if they have any."""
SLAB_BYTES = 512 * 2**20
"""torch rounds page-locked allocations up to a power of two: parts share slabs of this size."""
ALIGNMENT = 256


class HostMemory:
    """Allocates host memory, page-locked for a CUDA device, from slabs that live as long as their pieces."""

    def __init__(self, device: torch.device) -> None:
        self._pin = device.type == "cuda"
        self._slab = torch.empty(0, dtype=torch.uint8)

    def piece(self, size_bytes: int) -> Tensor:
        """A new (size_bytes,) uint8."""
        if not self._pin:
            return torch.empty(size_bytes, dtype=torch.uint8)
        if len(self._slab) < size_bytes:
            self._slab = torch.empty(max(SLAB_BYTES, size_bytes), dtype=torch.uint8, pin_memory=True)
        piece, self._slab = self._slab[:size_bytes], self._slab[size_bytes:]
        return piece


@dataclass(slots=True, eq=False)
class Part:
    """The tensors of one module, side by side in one piece of host memory, their `home` between calls of the module.

    `model` is the model it belongs to; `following` is the part of that model that was called after it. `views` are the
    tensors inside each buffer, by the buffer's index, with the memory they are views of.
    """

    tensors: list[Tensor]
    home: Tensor
    model: object
    at_home: list[Tensor] = field(init=False)
    views: dict[int, tuple[Tensor, list[Tensor]]] = field(default_factory=dict)
    following: Part | None = None

    def __post_init__(self) -> None:
        """Moves the tensors to `home`."""
        self.at_home = self.inside(self.home)
        for tensor, there in zip(self.tensors, self.at_home, strict=True):
            tensor.data = there.copy_(tensor.data)

    @property
    def moved(self) -> bool:
        """The module's tensors have been replaced since, as by a change of dtype."""
        return self.tensors[0].data_ptr() != self.home.data_ptr()

    def inside(self, piece: Tensor) -> list[Tensor]:
        """Views of `piece` with the tensors' shapes, dtypes and strides."""
        views, at = [], 0
        for tensor in self.tensors:
            flat = piece[at : at + tensor.nbytes].view(tensor.dtype)
            views.append(flat.as_strided(tensor.shape, tensor.stride()))
            at += aligned(tensor.nbytes)
        return views

    def point(self, targets: list[Tensor]) -> None:
        """Make the module's tensors use the memory of `targets`."""
        for tensor, target in zip(self.tensors, targets, strict=True):
            tensor.data = target


@dataclass(slots=True, eq=False)
class Buffer:
    """Device memory for one part; on CUDA, `copied` and `used` are events after its last copy and its last use."""

    memory: Tensor
    copied: torch.cuda.Event | None = None
    used: torch.cuda.Event | None = None


class WeightStream:
    """The two buffers of one device; used on the engine's thread only.

    The order in which a model's parts are called is learnt from its first call, so that later ones prefetch.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._cuda = device.type == "cuda"
        self._buffers = [self._buffer(0), self._buffer(0)]
        self._current = 0
        self._prefetched: Part | None = None
        self._previous: Part | None = None
        self._copies = new_stream(device) if self._cuda else None

    def rewind(self) -> None:
        """A model's call begins: a blend may have been written since the last prefetch, which is therefore dropped."""
        self._prefetched = self._previous = None

    def visit(self, part: Part) -> AbstractContextManager[None]:
        """Inside the context the part's tensors are on the device, outside at home."""
        return self._unbuffered(part) if part.moved else self._buffered(part)

    @contextmanager
    def _buffered(self, part: Part) -> Iterator[None]:
        if self._prefetched is not part:
            self._copy(part)
        self._current, self._prefetched = 1 - self._current, None
        buffer = self._buffers[self._current]
        if buffer.copied is not None:
            torch.cuda.current_stream(self.device).wait_event(buffer.copied)
        self._prefetch_after(part)
        part.point(part.views[self._current][1])
        try:
            yield
        finally:
            part.point(part.at_home)
            if self._cuda:
                buffer.used = torch.cuda.current_stream(self.device).record_event()

    @contextmanager
    def _unbuffered(self, part: Part) -> Iterator[None]:
        """For a part that was moved: copies its tensors as they are now."""
        with torch.inference_mode(False):
            moved = [tensor.data for tensor in part.tensors]
            part.point([tensor.to(self.device) for tensor in moved])
        try:
            yield
        finally:
            part.point(moved)

    def _prefetch_after(self, part: Part) -> None:
        if self._previous is not None and self._previous.model is part.model:
            self._previous.following = part
        self._previous = part
        if part.following is not None and not part.following.moved:
            self._copy(part.following)

    def _copy(self, part: Part) -> None:
        """Into the buffer not in use, after the last work that used it."""
        with torch.inference_mode(False):
            buffer = self._large_enough(1 - self._current, part)
        with self._copying(buffer):
            buffer.memory[: len(part.home)].copy_(part.home, non_blocking=True)
        self._prefetched = part

    def _large_enough(self, index: int, part: Part) -> Buffer:
        if len(self._buffers[index].memory) < len(part.home):
            if self._cuda:
                torch.cuda.synchronize(self.device)
            self._buffers[index] = self._buffer(len(part.home))
        buffer = self._buffers[index]
        memory, _ = part.views.get(index, (None, []))
        if memory is not buffer.memory:
            part.views[index] = buffer.memory, part.inside(buffer.memory)
        return buffer

    def _buffer(self, size_bytes: int) -> Buffer:
        return Buffer(torch.empty(size_bytes, dtype=torch.uint8, device=self.device))

    def _copying(self, buffer: Buffer) -> AbstractContextManager[Any]:
        return nullcontext() if self._copies is None else _on_stream(self._copies, buffer)


@contextmanager
def _on_stream(stream: torch.cuda.Stream, buffer: Buffer) -> Iterator[None]:
    if buffer.used is not None:
        stream.wait_event(buffer.used)
    with torch.cuda.stream(stream):
        yield
    buffer.copied = stream.record_event()


@torch.inference_mode(False)
@torch.no_grad()
def keep_in_host_memory(model: nn.Module, stream: WeightStream, memory: HostMemory) -> None:
    """Move the weights of the model's parts to host memory, and tensors outside all parts to the device."""
    inside: set[int] = set()
    for module in _parts(model):
        tensors = [*module.parameters(), *module.buffers()]
        inside.update(map(id, tensors))
        part = Part(tensors, memory.piece(sum(aligned(tensor.nbytes) for tensor in tensors)), model)
        # An attribute of the instance, as in `upcast`: hooks and direct calls both go through it.
        setattr(module, "forward", partial(_visiting, stream, part, module.forward))  # noqa: B010
    model.register_forward_pre_hook(lambda *_: stream.rewind())
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in inside:
            tensor.data = tensor.data.to(stream.device)


def _visiting(stream: WeightStream, part: Part, forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    with stream.visit(part):
        return forward(*inputs, **named)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules inside of at most PART_BYTES; not a ModuleList, as that is never called itself."""
    for child in module.children():
        size_bytes = sum(tensor.nbytes for tensor in (*child.parameters(), *child.buffers()))
        whole = not isinstance(child, nn.ModuleList) and size_bytes <= PART_BYTES
        if whole or not any(child.children()):
            if size_bytes:
                yield child
        else:
            yield from _parts(child)


def aligned(size_bytes: int) -> int:
    """Rounded up to a multiple of ALIGNMENT, so that a tensor of any dtype may follow."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT
