"""Reads a PEFT folder as one safetensors file: its config as metadata, components as prefixes of names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.lora_format.peft_config import CONFIG_NAME, FOLDER_CONFIG_KEY
from sdxl_gateway.catalog.model_files import COMPONENTS
from sdxl_gateway.catalog.safetensors_header import (
    LENGTH_BYTES,
    METADATA_KEY,
    Header,
    TensorInfo,
    open_regular_file,
    parse_header,
)
from sdxl_gateway.config import HeaderCaps
from sdxl_gateway.core.errors import AdapterRefused

WEIGHTS_NAME = "adapter_model.safetensors"
MAX_CONFIG_BYTES = 2**20
CHUNK_BYTES = 2**20
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_PEFT_ROOT = "base_model.model."


@dataclass(frozen=True, slots=True)
class FolderPart:
    """One adapter of the folder; `component` is "" if the folder itself holds it."""

    component: str
    folder: Path

    @property
    def files(self) -> tuple[Path, Path]:
        """Its config and its weights."""
        return self.folder / CONFIG_NAME, self.folder / WEIGHTS_NAME


def folder_parts(folder: Path) -> tuple[FolderPart, ...]:
    """The adapters in `folder`: its own, or those of sub-folders named like components; none for other folders."""
    places = [FolderPart("", folder), *(FolderPart(name, folder / name) for name in COMPONENTS)]
    found = [place for place in places if all(file.is_file() for file in place.files)]
    return tuple(found[:1] if found and not found[0].component else found)


def read_folder_header(parts: Sequence[FolderPart], caps: HeaderCaps) -> Header:
    """The header of the single file that the folder is read as. Raises AdapterRefused."""
    tensors: dict[str, TensorInfo] = {}
    configs: dict[str, Any] = {}
    offset = 0
    for part in parts:
        header = _part_header(part, caps)
        for name, info in header.tensors.items():
            tensors[_prefixed(part.component, name)] = _moved(info, offset)
        configs[part.component] = _config(part.files[0])
        offset += header.data_bytes
    return Header(tensors, {FOLDER_CONFIG_KEY: json.dumps(configs)})


def folder_bytes(parts: Sequence[FolderPart], caps: HeaderCaps) -> Iterator[bytes]:
    """The folder as the bytes of one safetensors file."""
    yield header_bytes(read_folder_header(parts, caps))
    for part in parts:
        with open_regular_file(part.files[1], NO_FOLLOW) as file:
            parse_header(file, caps)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def header_bytes(header: Header) -> bytes:
    """The beginning of a safetensors file with this header; the tensors' data follow in the order of their offsets."""
    entries: dict[str, Any] = {METADATA_KEY: dict(header.metadata)} if header.metadata else {}
    for name, info in sorted(header.tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        entries[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [info.start, info.end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _part_header(part: FolderPart, caps: HeaderCaps) -> Header:
    with open_regular_file(part.files[1], NO_FOLLOW) as file:
        return parse_header(file, caps)


def _prefixed(component: str, name: str) -> str:
    inner = name.removeprefix(_PEFT_ROOT)
    return inner if not component or inner.startswith(f"{component}.") else f"{component}.{inner}"


def _moved(info: TensorInfo, offset: int) -> TensorInfo:
    return TensorInfo(info.dtype, info.shape, info.start + offset, info.end + offset)


def _config(path: Path) -> Any:
    with open_regular_file(path, NO_FOLLOW) as file:
        raw = file.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise AdapterRefused(f"The folder's {CONFIG_NAME} is longer than {MAX_CONFIG_BYTES} bytes.")
    try:
        return json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AdapterRefused(f"The folder's {CONFIG_NAME} is not valid JSON.") from error
