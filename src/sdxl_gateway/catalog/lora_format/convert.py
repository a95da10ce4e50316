"""Converts a LoRA file of any dialect to diffusers' format, if that can represent it exactly.

Tensors are renamed and their bytes kept; alphas go into `lora_adapter_metadata`. What would need arithmetic (LoHa,
LoKr, full differences, core tensors) is refused, because rounding would make it a different LoRA; so are bundled
embeddings, which would be lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sdxl_gateway.catalog.lora_format.peft_config import DIFFUSERS_CONFIG_KEY
from sdxl_gateway.catalog.lora_format.peft_folder import CHUNK_BYTES, NO_FOLLOW, header_bytes
from sdxl_gateway.catalog.lora_format.plan import LoraPlan, ModulePart, plan_lora
from sdxl_gateway.catalog.model_files import TEXT_LEVEL
from sdxl_gateway.catalog.safetensors_header import Header, TensorInfo, open_regular_file, parse_header
from sdxl_gateway.config import HeaderCaps
from sdxl_gateway.core.errors import AdapterRefused

_NAMES = {"down": "lora_A.weight", "up": "lora_B.weight", "dora_scale": "lora_magnitude_vector.weight"}
_NUMPY_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A tensor of the source with its new name and shape."""

    name: str
    shape: tuple[int, ...]
    info: TensorInfo


def convert_file(source: Path, shapes: Mapping[str, tuple[int, ...]], caps: HeaderCaps) -> Iterator[bytes]:
    """The bytes of the converted file. Raises AdapterRefused, before the first byte, if it would not be exact."""
    with open_regular_file(source, NO_FOLLOW) as file:
        header = parse_header(file, caps)
        plan = plan_lora(header, shapes)
        _refuse_embeddings(plan)
        pieces = [piece for part in plan.parts for piece in _pieces(part, header, shapes[part.module])]
        metadata = _kept_metadata(header) | {DIFFUSERS_CONFIG_KEY: json.dumps(_configs(plan, header, file))}
        yield header_bytes(Header(_laid_out(pieces), metadata))
        for piece in pieces:
            yield from _data(file, header.data_start + piece.info.start, piece.info.end - piece.info.start)


def _refuse_embeddings(plan: LoraPlan) -> None:
    if plan.tokens:
        token = min(plan.tokens)[:100]
        raise AdapterRefused(f"The file teaches the word '{token}' (a bundled embedding), which diffusers cannot hold.")


def _pieces(part: ModulePart, header: Header, weight: tuple[int, ...]) -> Iterator[_Piece]:
    if part.algorithm != "lora":
        raise AdapterRefused(f"The layer '{part.module}' is a {part.algorithm}, which PEFT's LoRA cannot say exactly.")
    for role in part.tensors.keys() - _NAMES.keys() - {"alpha"}:
        raise AdapterRefused(f"The layer '{part.module}' has a '{role}', which PEFT's LoRA cannot say exactly.")
    for role in sorted(part.tensors.keys() & _NAMES.keys()):
        info = header.tensors[part.tensors[role]]
        yield _Piece(f"{part.module}.{_NAMES[role]}", _new_shape(part, role, info, weight), info)


def _new_shape(part: ModulePart, role: str, info: TensorInfo, weight: tuple[int, ...]) -> tuple[int, ...]:
    if role == "dora_scale":
        if prod(info.shape) != weight[0] or (info.shape[0] != weight[0] and not part.tensors[role].count("magnitude")):
            raise AdapterRefused(
                f"The layer '{part.module}' has a magnitude for each input; PEFT has one for each output."
            )
        return weight[:1] if len(weight) == 2 else (1, weight[0], *(1 for _ in weight[2:]))
    if role == "up":
        return (*info.shape[:2], *(1 for _ in weight[2:]))
    return (info.shape[0], *weight[1:])


def _laid_out(pieces: Sequence[_Piece]) -> dict[str, TensorInfo]:
    tensors, offset = {}, 0
    for piece in pieces:
        end = offset + piece.info.end - piece.info.start
        tensors[piece.name] = TensorInfo(piece.info.dtype, piece.shape, offset, end)
        offset = end
    return tensors


def _kept_metadata(header: Header) -> dict[str, str]:
    return {key: value for key, value in header.metadata.items() if key.startswith(("ss_", "modelspec."))}


def _configs(plan: LoraPlan, header: Header, file: BinaryIO) -> dict[str, Any]:
    """diffusers' metadata: one LoraConfig for each component, its keys prefixed with the component."""
    by_component: dict[str, list[tuple[str, int, float, bool]]] = {}
    for part in plan.parts:
        component, _, name = part.module.partition(".")
        # PEFT compares the ends of names, and newer transformers do not have this level.
        name = name.removeprefix(f"{TEXT_LEVEL}.")
        rank = part.rank or 1
        row = (name, rank, _alpha(part, rank, header, file), "dora_scale" in part.tensors)
        by_component.setdefault(component, []).append(row)
    configs = [(component, _config(rows)) for component, rows in by_component.items()]
    return {f"{component}.{key}": value for component, config in configs for key, value in config.items()}


def _config(rows: Sequence[tuple[str, int, float, bool]]) -> dict[str, Any]:
    if len({dora for *_, dora in rows}) > 1:
        raise AdapterRefused("Only some layers have a DoRA magnitude, which one PEFT config cannot say.")
    rank = Counter(row[1] for row in rows).most_common(1)[0][0]
    alpha = Counter(row[2] for row in rows).most_common(1)[0][0]
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {name: r for name, r, _, _ in rows if r != rank},
        "alpha_pattern": {name: a for name, _, a, _ in rows if a != alpha},
        "target_modules": sorted(row[0] for row in rows),
        "use_dora": rows[0][3],
        "bias": "none",
    }


def _alpha(part: ModulePart, rank: int, header: Header, file: BinaryIO) -> float:
    if part.scale is not None:
        return part.scale * rank
    if "alpha" not in part.tensors:
        return float(rank)
    info = header.tensors[part.tensors["alpha"]]
    file.seek(header.data_start + info.start)
    return read_scalar(file.read(info.end - info.start), info.dtype) or float(rank)


def read_scalar(raw: bytes, dtype: str) -> float:
    """One number in safetensors' encoding. Raises AdapterRefused for 8-bit types and non-finite values."""
    if dtype == "BF16":
        value = float(np.frombuffer(b"\0\0" + raw, "<f4")[0])
    elif dtype in _NUMPY_DTYPES:
        value = float(np.frombuffer(raw, _NUMPY_DTYPES[dtype])[0])
    else:
        raise AdapterRefused(f"An alpha of the type {dtype} cannot be read.")
    if not isfinite(value):
        raise AdapterRefused("An alpha is not a finite number.")
    return value


def _data(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    file.seek(start)
    while size:
        chunk = file.read(min(size, CHUNK_BYTES))
        if not chunk:
            raise AdapterRefused("The file is cut short.")
        size -= len(chunk)
        yield chunk
