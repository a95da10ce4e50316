"""Safetensors files written byte by byte, valid and invalid, without any library."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.lora_format.peft_folder import header_bytes
from sdxl_gateway.catalog.safetensors_header import DTYPE_BYTES, Header, TensorInfo

Shape = tuple[int, ...]
KOHYA_PREFIX = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}


def make_header(shapes: Mapping[str, Shape], metadata: Mapping[str, str] | None = None, dtype: str = "F16") -> Header:
    """A header whose tensors are contiguous."""
    tensors, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + prod(shape) * DTYPE_BYTES[dtype]
        tensors[name] = TensorInfo(dtype, shape, offset, end)
        offset = end
    return Header(tensors, dict(metadata or {}))


def file_bytes(shapes: Mapping[str, Shape], metadata: Mapping[str, str] | None = None, dtype: str = "F16") -> bytes:
    """A whole file; every byte of data depends on its position."""
    header = make_header(shapes, metadata, dtype)
    return header_bytes(header) + bytes(i % 60 for i in range(header.data_bytes))


def raw_file(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with any header: bytes are used as they are, anything else as JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def kohya_name(module: str) -> str:
    component, _, name = module.partition(".")
    return KOHYA_PREFIX[component] + name.replace(".", "_")


def lora_tensors(
    modules: Mapping[str, Shape],
    name: Callable[[str], str] = kohya_name,
    *,
    rank: int = 4,
    down: str = ".lora_down.weight",
    up: str = ".lora_up.weight",
    alpha: str | None = ".alpha",
) -> dict[str, Shape]:
    """The tensors of a LoRA or LoCon over `modules`, spelled as asked."""
    tensors: dict[str, Shape] = {}
    for module, weight in modules.items():
        tensors[name(module) + down] = (rank, *weight[1:])
        tensors[name(module) + up] = (weight[0], rank, *(1 for _ in weight[2:]))
        if alpha is not None:
            tensors[name(module) + alpha] = ()
    return tensors
