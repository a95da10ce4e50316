"""Takes a UNet's arguments, gives a Call: tensors of equally many rows, and the form: all else about the arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sdxl_gateway.engine.memory.offload import aligned
from sdxl_gateway.scheduling.memory_plan import STEP_BYTES

BUCKETS = (1, 2, 4, 8)
"""The numbers of rows that code and recordings are made for."""

LATENT_PIXELS = 64
"""Pixels for each latent."""

ArgumentPath = tuple[str, ...]
"""An argument's name, or the names that lead to it through nested dictionaries."""
Form = tuple[tuple[ArgumentPath, object], ...]
"""For each argument its path, with a tensor's dtype and shape of one row, or the constant itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`tensors` (rows, ...) in the form's order: latents, timesteps, and the tensors among the other arguments."""

    form: Form
    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, sample: Tensor, timesteps: Tensor, others: Mapping[str, Any]) -> Self | None:
        """None for a call with arguments that are neither tensors of as many rows nor constants, as of a ControlNet."""
        flat = list(_flat({"sample": sample, "timesteps": timesteps, **others}))
        tensors = tuple(value for _, value in flat if isinstance(value, Tensor))
        constants = [value for _, value in flat if not isinstance(value, Tensor)]
        if any(len(tensor) != len(sample) for tensor in tensors) or not all(map(_is_constant, constants)):
            return None
        return cls(tuple((path, _described(value)) for path, value in flat), tensors)

    @property
    def rows(self) -> int:
        return len(self.tensors[0])

    @property
    def work_bytes(self) -> int:
        """About the memory that the UNet's activations take, as counted on SDXL's."""
        sample = self.tensors[0]
        return STEP_BYTES * sample.itemsize * LATENT_PIXELS * self.rows * sample.shape[-1] * sample.shape[-2]

    def split(self, sizes: Sequence[int]) -> list[Self]:
        """Calls of so many rows each, in order; for a single size, this call itself."""
        columns = zip(*(torch.split(tensor, list(sizes)) for tensor in self.tensors), strict=True)
        return [self] if len(sizes) == 1 else [type(self)(self.form, tensors) for tensors in columns]

    def repeated(self, rows: int) -> Self:
        """A call of that many copies of the first row, in new memory."""
        first = (tensor[:1].expand(rows, *tensor.shape[1:]) for tensor in self.tensors)
        return type(self)(self.form, tuple(map(_contiguous_copy, first)))

    @property
    def size_bytes(self) -> int:
        """Of the memory that `laid_out_in` takes."""
        return sum(aligned(tensor.nbytes) for tensor in self.tensors)

    def laid_out_in(self, memory: Tensor) -> Self:
        """A call of the same form and shapes, uninitialised: contiguous views one after another in `memory`, uint8."""
        views, at = [], 0
        for tensor in self.tensors:
            views.append(memory[at : at + tensor.nbytes].view(tensor.dtype).view(tensor.shape))
            at += aligned(tensor.nbytes)
        return type(self)(self.form, tuple(views))

    def blank(self) -> Self:
        """A call of the same form and shapes that takes no memory: each tensor is one zero, expanded."""
        return type(self)(self.form, tuple(tensor.new_zeros(()).expand(tensor.shape) for tensor in self.tensors))

    def made(self, function: Callable[..., Any]) -> Tensor:
        """Make the call to `function`, a UNet or a stand-in; gives the prediction, (rows, 4, h, w)."""
        inputs, others = self.spread()
        prediction: Tensor = function(*inputs, **others)[0]
        return prediction

    def spread(self) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
        """The arguments as a UNet takes them: latents and timesteps, and the others by name."""
        # An expanded row has stride 0, and compiled code is made for certain strides.
        values, arguments = iter(map(Tensor.contiguous, self.tensors)), dict[str, Any]()
        for path, value in self.form:
            _put(arguments, path, next(values) if isinstance(value, _Rows) else value)
        return (arguments.pop("sample"), arguments.pop("timesteps")), arguments


@dataclass(frozen=True, slots=True)
class _Rows:
    """A tensor's dtype and the shape of one row."""

    dtype: torch.dtype
    shape: torch.Size


def in_buckets(rows: int, buckets: Sequence[int] = BUCKETS) -> list[int]:
    """The fewest buckets that sum to exactly `rows`, the largest first."""
    sizes = []
    for size in sorted(buckets, reverse=True):
        count, rows = divmod(rows, size)
        sizes += [size] * count
    return sizes


def _contiguous_copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _flat(values: Mapping[str, Any], path: ArgumentPath = ()) -> Iterator[tuple[ArgumentPath, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*path, name))
        else:
            yield (*path, name), value


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _described(value: Any) -> object:
    return _Rows(value.dtype, value.shape[1:]) if isinstance(value, Tensor) else value


def _put(arguments: dict[str, Any], path: ArgumentPath, value: Any) -> None:
    *outer, last = path
    for name in outer:
        arguments = arguments.setdefault(name, {})
    arguments[last] = value
