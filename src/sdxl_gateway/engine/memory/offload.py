"""Takes modules, keeps their weights in host memory, and has each part's on the device while its forward runs.

Parts are copied into two buffers in turn: while one computes, the next is copied on a stream of its own. Nothing waits
on the host, which only tells the device what waits for what. The weights' home never moves, so that blends are written
to it as to any other weight.
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
"""Modules larger than this are taken apart, where they can be."""
SLAB_BYTES = 512 * 2**20
"""Page-locked memory comes in powers of two: parts share pieces of this size."""
ALIGNMENT = 256


class HostMemory:
    """Gives pieces of host memory, page-locked for a CUDA device, from slabs that live as long as their pieces."""

    def __init__(self, device: torch.device) -> None:
        self._pin = device.type == "cuda"
        self._slab = torch.empty(0, dtype=torch.uint8)

    def piece(self, size_bytes: int) -> Tensor:
        """(size_bytes,) uint8."""
        if not self._pin:
            return torch.empty(size_bytes, dtype=torch.uint8)
        if len(self._slab) < size_bytes:
            self._slab = torch.empty(max(SLAB_BYTES, size_bytes), dtype=torch.uint8, pin_memory=True)
        found, self._slab = self._slab[:size_bytes], self._slab[size_bytes:]
        return found


@dataclass(slots=True, eq=False)
class Part:
    """The tensors of one module, side by side in one piece of host memory, where they are while nothing visits.

    `model` tells parts of one model from those of others; `following` is the part of it that was called next.
    """

    tensors: list[Tensor]
    home: Tensor
    model: object
    at_home: list[Tensor] = field(init=False)
    views: dict[int, tuple[Tensor, list[Tensor]]] = field(default_factory=dict)
    following: Part | None = None

    def __post_init__(self) -> None:
        """Moves the tensors there."""
        self.at_home = self.inside(self.home)
        for tensor, there in zip(self.tensors, self.at_home, strict=True):
            tensor.data = there.copy_(tensor.data)

    @property
    def moved(self) -> bool:
        """Somebody has brought the module into another format since."""
        return self.tensors[0].data_ptr() != self.home.data_ptr()

    def inside(self, piece: Tensor) -> list[Tensor]:
        """The tensors as they lie in `piece`, in their own shapes, formats and strides."""
        found, at = [], 0
        for tensor in self.tensors:
            flat = piece[at : at + tensor.nbytes].view(tensor.dtype)
            found.append(flat.as_strided(tensor.shape, tensor.stride()))
            at += aligned(tensor.nbytes)
        return found

    def point(self, places: list[Tensor]) -> None:
        """The module's tensors are there now."""
        for tensor, place in zip(self.tensors, places, strict=True):
            tensor.data = place


@dataclass(slots=True, eq=False)
class Buffer:
    """Room for one part on the device; `copied` and `used` are marks in the device's line of work, on CUDA."""

    memory: Tensor
    copied: torch.cuda.Event | None = None
    used: torch.cuda.Event | None = None


class WeightStream:
    """The buffers of one device and what is in them; a `visit` belongs to the engine's thread.

    In which order a model's parts are called is learnt from its first call.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._cuda = device.type == "cuda"
        self._buffers = [self._buffer(0), self._buffer(0)]
        self._at = 0
        self._coming: Part | None = None
        self._before: Part | None = None
        self._copies = new_stream(device) if self._cuda else None

    def rewind(self) -> None:
        """A model's call begins: what was copied ahead may have been written anew since."""
        self._coming = self._before = None

    def visit(self, part: Part) -> AbstractContextManager[None]:
        """The part's tensors are on the device; outside, they are at home."""
        return self._unbuffered(part) if part.moved else self._buffered(part)

    @contextmanager
    def _buffered(self, part: Part) -> Iterator[None]:
        if self._coming is not part:
            self._send(part)
        self._at, self._coming = 1 - self._at, None
        buffer = self._buffers[self._at]
        if buffer.copied is not None:
            torch.cuda.current_stream(self.device).wait_event(buffer.copied)
        self._look_ahead(part)
        part.point(part.views[self._at][1])
        try:
            yield
        finally:
            part.point(part.at_home)
            if self._cuda:
                buffer.used = torch.cuda.current_stream(self.device).record_event()

    @contextmanager
    def _unbuffered(self, part: Part) -> Iterator[None]:
        """As it is now, in whatever format."""
        with torch.inference_mode(False):
            here = [tensor.data for tensor in part.tensors]
            part.point([tensor.to(self.device) for tensor in here])
        try:
            yield
        finally:
            part.point(here)

    def _look_ahead(self, part: Part) -> None:
        if self._before is not None and self._before.model is part.model:
            self._before.following = part
        self._before = part
        if part.following is not None and not part.following.moved:
            self._send(part.following)

    def _send(self, part: Part) -> None:
        """Into the buffer that nothing computes with, once what computed with it last is done."""
        place = 1 - self._at
        with torch.inference_mode(False):
            buffer = self._roomy(place, part)
        with self._copying(buffer):
            buffer.memory[: len(part.home)].copy_(part.home, non_blocking=True)
        self._coming = part

    def _roomy(self, place: int, part: Part) -> Buffer:
        if len(self._buffers[place].memory) < len(part.home):
            if self._cuda:
                torch.cuda.synchronize(self.device)
            self._buffers[place] = self._buffer(len(part.home))
        buffer = self._buffers[place]
        memory, _ = part.views.get(place, (None, []))
        if memory is not buffer.memory:
            part.views[place] = buffer.memory, part.inside(buffer.memory)
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
    """The weights of the model's parts live in host memory from now on; what is in none of them on the device."""
    inside: set[int] = set()
    for module in _parts(model):
        tensors = [*module.parameters(), *module.buffers()]
        inside.update(map(id, tensors))
        part = Part(tensors, memory.piece(sum(aligned(tensor.nbytes) for tensor in tensors)), model)
        # As for `upcast`: what both hooks and callers go through.
        setattr(module, "forward", partial(_visiting, stream, part, module.forward))  # noqa: B010
    model.register_forward_pre_hook(lambda *_: stream.rewind())
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in inside:
            tensor.data = tensor.data.to(stream.device)


def _visiting(stream: WeightStream, part: Part, forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    with stream.visit(part):
        return forward(*inputs, **named)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules inside that are small enough; a list of modules is never called itself."""
    for child in module.children():
        size_bytes = sum(tensor.nbytes for tensor in (*child.parameters(), *child.buffers()))
        whole = not isinstance(child, nn.ModuleList) and size_bytes <= PART_BYTES
        if whole or not any(child.children()):
            if size_bytes:
                yield child
        else:
            yield from _parts(child)


def aligned(size_bytes: int) -> int:
    """As much or a little more: where pieces of such sizes end, any number may begin."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT
