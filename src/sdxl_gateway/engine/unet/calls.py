"""Takes what a UNet is called with, gives it as a Call: tensors of as many rows each, and the form they all have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sdxl_gateway.engine.memory.offload import aligned
from sdxl_gateway.scheduling.memory_plan import STEP_BYTES

BUCKETS = (1, 2, 4, 8)
"""The numbers of rows there is code and are recordings for."""

LATENT_PIXELS = 64
"""Pixels to one latent."""

Place = tuple[str, ...]
Form = tuple[tuple[Place, object], ...]
"""Where each tensor and each constant stands, with the tensor's format and shape of one row, or the constant."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`tensors` (rows, ...) in the form's order: the latents, the timesteps, and the arguments by their names."""

    form: Form
    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, sample: Tensor, timesteps: Tensor, others: Mapping[str, Any]) -> Self | None:
        """None for a call that is not of rows alone, as one with a ControlNet's residuals."""
        found = list(_flat({"sample": sample, "timesteps": timesteps, **others}))
        tensors = tuple(value for _, value in found if isinstance(value, Tensor))
        constants = [value for _, value in found if not isinstance(value, Tensor)]
        if any(len(tensor) != len(sample) for tensor in tensors) or not all(map(_is_constant, constants)):
            return None
        return cls(tuple((place, _described(value)) for place, value in found), tensors)

    @property
    def rows(self) -> int:
        return len(self.tensors[0])

    @property
    def work_bytes(self) -> int:
        """About what the UNet takes to work in, counted on SDXL's."""
        sample = self.tensors[0]
        return STEP_BYTES * sample.itemsize * LATENT_PIXELS * self.rows * sample.shape[-1] * sample.shape[-2]

    def apart(self, sizes: Sequence[int]) -> list[Self]:
        """Calls of so many rows each, in the rows' order; of one size alone it is this call."""
        columns = zip(*(torch.split(tensor, list(sizes)) for tensor in self.tensors), strict=True)
        return [self] if len(sizes) == 1 else [type(self)(self.form, tensors) for tensors in columns]

    def repeated(self, rows: int) -> Self:
        """Its first row so many times, in memory of its own."""
        first = (tensor[:1].expand(rows, *tensor.shape[1:]) for tensor in self.tensors)
        return type(self)(self.form, tuple(map(_contiguous_copy, first)))

    @property
    def size_bytes(self) -> int:
        """Of the memory it is laid out in."""
        return sum(aligned(tensor.nbytes) for tensor in self.tensors)

    def laid_out_in(self, memory: Tensor) -> Self:
        """Without its numbers, each tensor contiguous, one after another in `memory`, (bytes,) uint8."""
        found, at = [], 0
        for tensor in self.tensors:
            found.append(memory[at : at + tensor.nbytes].view(tensor.dtype).view(tensor.shape))
            at += aligned(tensor.nbytes)
        return type(self)(self.form, tuple(found))

    def blank(self) -> Self:
        """A call of its form that holds nothing: one zero stands for all numbers of a tensor."""
        return type(self)(self.form, tuple(tensor.new_zeros(()).expand(tensor.shape) for tensor in self.tensors))

    def made(self, function: Callable[..., Any]) -> Tensor:
        """What `function`, called as a UNet is, predicts: (rows, 4, h, w)."""
        inputs, others = self.spread()
        found: Tensor = function(*inputs, **others)[0]
        return found

    def spread(self) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
        """What a UNet is called with: the latents and timesteps, and the rest by their names."""
        # A view of one row as two has strides of its own, and other strides are other code.
        values, arguments = iter(map(Tensor.contiguous, self.tensors)), dict[str, Any]()
        for place, value in self.form:
            _put(arguments, place, next(values) if isinstance(value, _Rows) else value)
        return (arguments.pop("sample"), arguments.pop("timesteps")), arguments


@dataclass(frozen=True, slots=True)
class _Rows:
    dtype: torch.dtype
    shape: torch.Size


def in_buckets(rows: int, buckets: Sequence[int] = BUCKETS) -> list[int]:
    """The fewest buckets that hold so many rows and no others, the largest first."""
    sizes = []
    for size in sorted(buckets, reverse=True):
        count, rows = divmod(rows, size)
        sizes += [size] * count
    return sizes


def _contiguous_copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _flat(values: Mapping[str, Any], place: Place = ()) -> Iterator[tuple[Place, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*place, name))
        else:
            yield (*place, name), value


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _described(value: Any) -> object:
    return _Rows(value.dtype, value.shape[1:]) if isinstance(value, Tensor) else value


def _put(arguments: dict[str, Any], place: Place, value: Any) -> None:
    *outer, last = place
    for name in outer:
        arguments = arguments.setdefault(name, {})
    arguments[last] = value
