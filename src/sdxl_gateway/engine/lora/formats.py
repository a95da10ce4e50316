"""Takes a planned adapter file, decides where each factor goes in one buffer, and gives such a buffer as an Adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from sdxl_gateway.catalog.lora_format.plan import ModulePart
from sdxl_gateway.catalog.safetensors_header import TensorInfo
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.engine.lora.delta import Delta, Full
from sdxl_gateway.engine.lora.weight_delta import weight_delta

ALIGNMENT_BYTES = 16
CELL_BYTES = 8
"""For an alpha of any type."""

FILE_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
ALPHA_DTYPES = FILE_DTYPES | {
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
# float16 represents every value of both 8-bit formats exactly, and every device computes with it.
KEPT_DTYPES = {torch.float64: torch.float32, torch.float8_e4m3fn: torch.float16, torch.float8_e5m2: torch.float16}

BIAS_ROLES = ("bias", "diff_b")


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A file whose header was read and whose parts were planned against the checkpoint.

    `words` maps each textual inversion's word to the names of its tensors, by component.
    """

    digest: str
    path: Path
    tensors: Mapping[str, TensorInfo]
    parts: Sequence[ModulePart]
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor of the file, kept at `offset_bytes` in the buffer.

    One that is converted (an alpha, or another number format) is first read to `aside_offset` in another buffer.
    """

    place: TensorInfo
    file_dtype: torch.dtype
    kept_dtype: torch.dtype
    offset_bytes: int
    aside_offset: int | None = None

    @property
    def end_bytes(self) -> int:
        """Where it ends in the buffer."""
        return self.offset_bytes + prod(self.place.shape) * self.kept_dtype.itemsize


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each factor is in an adapter's buffer of `size_bytes`; decided before the file's data is read."""

    file: AdapterFile
    slots: Mapping[str, Slot]
    alphas: Mapping[str, Slot]
    size_bytes: int
    aside_bytes: int

    def runs(self) -> Iterator[tuple[int, int, torch.dtype]]:
        """(start, end, dtype) of maximal stretches of the buffer of one dtype, without gaps."""
        start, end, dtype = 0, 0, torch.uint8
        for slot in self.slots.values():
            if (slot.offset_bytes, slot.kept_dtype) != (end, dtype):
                yield start, end, dtype
                start, dtype = slot.offset_bytes, slot.kept_dtype
            end = slot.end_bytes
        yield start, end, dtype


TextualInversions = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A file's factors on one device; `deltas` maps "unet.….to_q.weight" or "….bias" to the change of that parameter.

    `words` has the vectors (count, width) of its textual inversions, by word and component. While it is being copied,
    `arrived` is the event after the copy.
    """

    digest: str
    deltas: Mapping[str, Delta]
    buffer: Tensor
    words: TextualInversions
    arrived: torch.cuda.Event | None = None

    @property
    def size_bytes(self) -> int:
        """Of its buffer."""
        return self.buffer.nbytes


def lay_out(file: AdapterFile) -> Layout:
    """The layout. Raises AdapterRefused for an unsupported dtype, and for an alpha that is not one number."""
    alphas = sorted({part.tensors["alpha"] for part in file.parts if "alpha" in part.tensors})
    wanted = {key for part in file.parts for key in part.tensors.values()} - set(alphas)
    wanted |= {key for vectors in file.words.values() for key in vectors.values()}
    cells = {key: _cell(file.tensors[key], key, number) for number, key in enumerate(alphas)}
    slots: dict[str, Slot] = {}
    size_bytes, aside_bytes = 0, CELL_BYTES * len(cells)
    for key in sorted(wanted, key=lambda k: file.tensors[k].start):
        slot = slots[key] = _slot(file.tensors[key], key, size_bytes, aside_bytes)
        size_bytes = _aligned(slot.end_bytes)
        if slot.aside_offset is not None:
            aside_bytes = _aligned(aside_bytes + slot.place.end - slot.place.start)
    return Layout(file, slots, cells, size_bytes, aside_bytes)


def _slot(place: TensorInfo, key: str, offset_bytes: int, aside_bytes: int) -> Slot:
    dtype = _dtype(place, key, FILE_DTYPES)
    kept = KEPT_DTYPES.get(dtype, dtype)
    return Slot(place, dtype, kept, offset_bytes, None if kept is dtype else aside_bytes)


def _cell(place: TensorInfo, key: str, number: int) -> Slot:
    dtype = _dtype(place, key, ALPHA_DTYPES)
    if prod(place.shape) != 1:
        raise not_one_number(key)
    return Slot(place, dtype, dtype, 0, CELL_BYTES * number)


def not_one_number(key: str) -> AdapterRefused:
    """The error for an alpha that is not one finite number."""
    return AdapterRefused(f"The LoRA file's tensor '{key[:100]}' is not one finite number.")


def _dtype(place: TensorInfo, key: str, dtypes: Mapping[str, torch.dtype]) -> torch.dtype:
    if 0 in place.shape:
        raise AdapterRefused(f"The LoRA file's tensor '{key[:100]}' is empty.")
    if place.dtype not in dtypes:
        raise AdapterRefused(f"The LoRA file's tensor '{key[:100]}' has the unsupported type {place.dtype[:20]}.")
    return dtypes[place.dtype]


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def adapter_of(
    layout: Layout, buffer: Tensor, alpha_values: Mapping[str, float], arrived: torch.cuda.Event | None = None
) -> Adapter:
    """The adapter whose factors are in `buffer`, (size_bytes,) uint8 on any device, laid out as `layout` says.

    Raises AdapterRefused for tensors that do not fit each other.
    """
    tensors = _views(layout, buffer)
    deltas: dict[str, Delta] = {}
    for part in layout.file.parts:
        for name, delta in _deltas(part, tensors, alpha_values):
            if name in deltas:
                raise AdapterRefused(f"The LoRA file changes '{name[:200]}' twice.")
            deltas[name] = delta
    words = {word: _vectors(keys, tensors) for word, keys in layout.file.words.items()}
    return Adapter(layout.file.digest, deltas, buffer, words, arrived)


def _views(layout: Layout, buffer: Tensor) -> dict[str, Tensor]:
    """Each factor as a view of its own dtype and shape."""
    kinds = {dtype: buffer.view(dtype) for dtype in {slot.kept_dtype for slot in layout.slots.values()}}
    return {
        key: kinds[slot.kept_dtype][slot.offset_bytes // width : slot.end_bytes // width].view(slot.place.shape)
        for key, slot in layout.slots.items()
        if (width := slot.kept_dtype.itemsize)
    }


def _vectors(keys: Mapping[str, str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {component: tensors[key].view(-1, tensors[key].shape[-1]) for component, key in keys.items()}


def _deltas(
    part: ModulePart, tensors: Mapping[str, Tensor], alpha_values: Mapping[str, float]
) -> Iterator[tuple[str, Delta]]:
    keys = part.tensors
    alpha = alpha_values[keys["alpha"]] if "alpha" in keys else None
    roles = {role: tensors[key] for role, key in keys.items() if role != "alpha"}
    biases = {role: roles.pop(role) for role in BIAS_ROLES if role in roles}
    if roles:
        by_row = True if "magnitude" in keys.get("dora_scale", "") else None
        delta = weight_delta(part.algorithm, roles, scale=part.scale, alpha=alpha, dora_by_row=by_row)
        yield f"{part.module}.weight", delta
    if "diff_b" in biases:
        yield f"{part.module}.bias", Full(biases["diff_b"])
    if "bias" in biases:
        yield f"{part.module}.bias", Full(biases["bias"], _bias_scale(part, roles, alpha))


def _bias_scale(part: ModulePart, roles: Mapping[str, Tensor], alpha: float | None) -> float:
    """PEFT's `lora_B.bias` is multiplied by the adapter's scale like the rest of its output."""
    if part.scale is not None:
        return part.scale
    return alpha / roles["down"].shape[0] if alpha and "down" in roles else 1.0
