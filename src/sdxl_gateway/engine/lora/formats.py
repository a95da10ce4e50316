"""Takes a planned adapter file, gives an Adapter: its tensors in one contiguous buffer, seen as deltas by parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, FileIO
from math import isfinite, prod
from pathlib import Path

import torch
from torch import Tensor

from sdxl_gateway.catalog.lora_format.plan import ModulePart
from sdxl_gateway.catalog.safetensors_header import TensorInfo
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.engine.lora.delta import Delta, Full, weight_delta

ALIGNMENT_BYTES = 16
READ_BUFFER_BYTES = 2**20
FINITE_CHUNK_VALUES = 2**22

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
# float16 holds every value of both 8-bit kinds exactly, and every device computes with it.
KEPT_DTYPES = {torch.float64: torch.float32, torch.float8_e4m3fn: torch.float16, torch.float8_e5m2: torch.float16}

BIAS_ROLES = ("bias", "diff_b")


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A file whose header was read and whose parts were planned against the checkpoint.

    `words` maps a word the file teaches to the tensor that stands for it in each text encoder, by component.
    """

    digest: str
    path: Path
    tensors: Mapping[str, TensorInfo]
    parts: Sequence[ModulePart]
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Slot:
    place: TensorInfo
    file_dtype: torch.dtype
    kept_dtype: torch.dtype
    offset_bytes: int

    @property
    def size_bytes(self) -> int:
        return prod(self.place.shape) * self.kept_dtype.itemsize


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each factor lies in an adapter's buffer of `size_bytes`; decided before anything is read."""

    file: AdapterFile
    slots: Mapping[str, _Slot]
    alphas: Mapping[str, _Slot]
    size_bytes: int


TextualInversions = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A file's factors on one device; `deltas` maps "unet.….to_q.weight" or "….bias" to the change it makes there.

    `words` maps a word it teaches, by component, to the vectors (count, width) that stand for it.
    """

    digest: str
    deltas: Mapping[str, Delta]
    buffer: Tensor
    layout: Layout
    alpha_values: Mapping[str, float]
    words: TextualInversions

    @property
    def size_bytes(self) -> int:
        """What its buffer takes."""
        return self.layout.size_bytes

    def to(self, device: torch.device) -> Adapter:
        """The same adapter with its buffer on `device`, copied in one piece; self when it is there already."""
        if self.buffer.device == device:
            return self
        return _adapter(self.layout, self.buffer.to(device, non_blocking=device.type == "cuda"), self.alpha_values)


def lay_out(file: AdapterFile) -> Layout:
    """Raises AdapterRefused for a dtype no factor can have."""
    alphas = {part.tensors["alpha"] for part in file.parts if "alpha" in part.tensors}
    wanted = {key for part in file.parts for key in part.tensors.values()} - alphas
    wanted |= {key for vectors in file.words.values() for key in vectors.values()}
    slots: dict[str, _Slot] = {}
    size_bytes = 0
    for key in sorted(wanted, key=lambda k: file.tensors[k].start):
        slot = _slot(file.tensors[key], key, size_bytes, FILE_DTYPES)
        slots[key] = slot
        size_bytes = _aligned(slot.offset_bytes + slot.size_bytes)
    return Layout(file, slots, {key: _slot(file.tensors[key], key, 0, ALPHA_DTYPES) for key in alphas}, size_bytes)


def _slot(place: TensorInfo, key: str, offset_bytes: int, dtypes: Mapping[str, torch.dtype]) -> _Slot:
    dtype = dtypes.get(place.dtype)
    if 0 in place.shape:
        raise AdapterRefused(f"The LoRA file's tensor '{key[:100]}' is empty.")
    if dtype is None:
        raise AdapterRefused(f"The LoRA file's tensor '{key[:100]}' has the unsupported type {place.dtype[:20]}.")
    return _Slot(place, dtype, KEPT_DTYPES.get(dtype, dtype), offset_bytes)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def read_adapter(layout: Layout, *, pin: bool) -> Adapter:
    """The adapter in host memory (page-locked when `pin`), every number of it finite.

    Raises AdapterRefused for a file that is gone, cut short, not finite, or whose tensors do not fit each other.
    """
    buffer = torch.zeros(layout.size_bytes, dtype=torch.uint8, pin_memory=pin)
    try:
        with BufferedReader(FileIO(layout.file.path), READ_BUFFER_BYTES) as file:
            data_start = 8 + int.from_bytes(_read(file, 8), "little")
            for key, slot in layout.slots.items():
                _fill(file, data_start, slot, buffer)
                _refuse_infinite(_view(buffer, slot), key)
            alpha_values = {key: _number(file, data_start, slot, key) for key, slot in layout.alphas.items()}
    except OSError as error:
        raise AdapterRefused("The LoRA file cannot be read.") from error
    return _adapter(layout, buffer, alpha_values)


def _read(file: BufferedReader[FileIO], count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise AdapterRefused("The LoRA file is cut short.")
    return data


def _fill(file: BufferedReader[FileIO], data_start: int, slot: _Slot, buffer: Tensor) -> None:
    file.seek(data_start + slot.place.start)
    if slot.file_dtype is not slot.kept_dtype:
        _view(buffer, slot).copy_(_tensor(file, slot))
    elif slot.size_bytes:
        room = memoryview(buffer.numpy().data)[slot.offset_bytes : slot.offset_bytes + slot.size_bytes]
        if file.readinto(room) != slot.size_bytes:
            raise AdapterRefused("The LoRA file is cut short.")


def _tensor(file: BufferedReader[FileIO], slot: _Slot) -> Tensor:
    raw = bytearray(_read(file, slot.place.end - slot.place.start))
    return torch.frombuffer(raw, dtype=slot.file_dtype).reshape(slot.place.shape)


def _number(file: BufferedReader[FileIO], data_start: int, slot: _Slot, key: str) -> float:
    file.seek(data_start + slot.place.start)
    tensor = _tensor(file, slot)
    if tensor.numel() != 1 or not isfinite(value := float(tensor.double().item())):
        raise AdapterRefused(f"The LoRA file's tensor '{key[:100]}' is not one finite number.")
    return value


def _refuse_infinite(tensor: Tensor, key: str) -> None:
    values = tensor.flatten()
    for start in range(0, values.numel(), FINITE_CHUNK_VALUES):
        if not bool(torch.isfinite(values[start : start + FINITE_CHUNK_VALUES]).all()):
            raise AdapterRefused(f"The LoRA file's tensor '{key[:100]}' holds values that are not finite.")


def _view(buffer: Tensor, slot: _Slot) -> Tensor:
    raw = buffer[slot.offset_bytes : slot.offset_bytes + slot.size_bytes]
    return raw.view(slot.kept_dtype).view(slot.place.shape)


def _adapter(layout: Layout, buffer: Tensor, alpha_values: Mapping[str, float]) -> Adapter:
    tensors = {key: _view(buffer, slot) for key, slot in layout.slots.items()}
    deltas: dict[str, Delta] = {}
    for part in layout.file.parts:
        for name, delta in _deltas(part, tensors, alpha_values):
            if name in deltas:
                raise AdapterRefused(f"The LoRA file changes '{name[:200]}' twice.")
            deltas[name] = delta
    words = {word: _vectors(keys, tensors) for word, keys in layout.file.words.items()}
    return Adapter(layout.file.digest, deltas, buffer, layout, alpha_values, words)


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
    """PEFT's `lora_B.bias` passes through the adapter's scale like the rest of its output."""
    if part.scale is not None:
        return part.scale
    return alpha / roles["down"].shape[0] if alpha and "down" in roles else 1.0
