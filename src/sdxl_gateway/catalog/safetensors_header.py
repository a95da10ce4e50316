"""Reads the header of a safetensors file: every tensor's type, shape and position, validated before any use."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from sdxl_gateway.config import HeaderCaps
from sdxl_gateway.core.errors import AdapterRefused

DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
FLOAT_DTYPES = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
INTEGER_DTYPES = frozenset({"I64", "I32", "I16", "I8", "U8"})
MAX_NAME_CHARS = 512
MAX_RANK = 8
MAX_NUMBER = 2**40
"""The limit of each side of a tensor and of each offset in a file."""
LENGTH_BYTES = 8
METADATA_KEY = "__metadata__"
TENSOR_KEYS = frozenset({"dtype", "shape", "data_offsets"})


class TensorInfo(NamedTuple):
    """One tensor; `start` and `end` are offsets in bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The contents of a file by its header; its data begins `data_start` bytes into the file."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    data_start: int = 0

    @property
    def data_bytes(self) -> int:
        """The number of bytes after the header."""
        return max((tensor.end for tensor in self.tensors.values()), default=0)

    @property
    def parameters(self) -> int:
        """The number of elements of all tensors."""
        return sum(prod(tensor.shape) for tensor in self.tensors.values())


def read_header(path: Path, caps: HeaderCaps) -> Header:
    """The header of the regular file `path`. Raises AdapterRefused for anything that deviates from the format."""
    # Only two reads, so that a buffer would cost a large folder's scan more than it saves.
    with open_regular_file(path, buffering=0) as file:
        return parse_header(file, caps)


def open_regular_file(path: Path, extra_flags: int = 0, *, buffering: int = -1) -> BinaryIO:
    """`path` opened for reading, if it is a regular file; never blocks. Raises AdapterRefused."""
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to must not hang the scan.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | extra_flags)
    except (OSError, ValueError) as error:
        raise AdapterRefused("The file cannot be opened.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AdapterRefused("This is not a regular file.")
    return os.fdopen(descriptor, "rb", buffering)


def parse_header(file: BinaryIO, caps: HeaderCaps) -> Header:
    """The header at the start of `file`. Raises AdapterRefused."""
    try:
        file_bytes = os.fstat(file.fileno()).st_size
        raw = _raw_header(file, file_bytes, caps.max_header_bytes)
    except OSError as error:
        raise AdapterRefused("The file cannot be read.") from error
    entries = _strict_json(raw)
    metadata = _metadata(entries.pop(METADATA_KEY, {}))
    if len(entries) > caps.max_tensors:
        raise AdapterRefused(f"The file holds {len(entries)} tensors; at most {caps.max_tensors} are read.")
    tensors = {name: _tensor(name, entry) for name, entry in entries.items()}
    data_start = LENGTH_BYTES + len(raw)
    _check_cover(tensors.values(), file_bytes - data_start)
    return Header(tensors, metadata, data_start)


def _raw_header(file: BinaryIO, file_bytes: int, max_header_bytes: int) -> bytes:
    prefix = file.read(LENGTH_BYTES)
    if len(prefix) < LENGTH_BYTES:
        raise AdapterRefused("The file is too short to be a safetensors file.")
    length = int.from_bytes(prefix, "little")
    if length > file_bytes - LENGTH_BYTES:
        raise AdapterRefused("This is not a safetensors file, or it is cut short.")
    if length > max_header_bytes:
        raise AdapterRefused(f"The file's header has {length} bytes; at most {max_header_bytes} are read.")
    raw = file.read(length)
    if len(raw) < length:
        raise AdapterRefused("This is not a safetensors file, or it is cut short.")
    if raw[:1] != b"{":
        raise AdapterRefused("This is not a safetensors file: its header is not a JSON object.")
    return raw


def _strict_json(raw: bytes) -> dict[str, Any]:
    try:
        parsed = _STRICT.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise AdapterRefused("The file's header is not UTF-8 text.") from error
    except (ValueError, RecursionError) as error:
        raise AdapterRefused("The file's header is not valid JSON.") from error
    if not isinstance(parsed, dict):
        raise AdapterRefused("The file's header is not a JSON object.")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AdapterRefused("The file's header names something twice.")
    return found


def _no_number(text: str) -> NoReturn:
    raise AdapterRefused("The file's header holds a number that is not a whole one.")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_no_number)


def _metadata(entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise AdapterRefused("The file's metadata is not a JSON object.")
    for key, value in entry.items():
        if not isinstance(value, str):
            raise AdapterRefused("The file's metadata holds something other than text.")
        if not (_is_text(key) and _is_text(value)):
            raise AdapterRefused("The file's metadata is not valid Unicode text.")
    return entry


def _is_text(value: str) -> bool:
    # JSON can contain half of a surrogate pair, which cannot be encoded again.
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _tensor(name: str, entry: Any) -> TensorInfo:
    if not (0 < len(name) <= MAX_NAME_CHARS and name.isprintable()):
        raise AdapterRefused(f"A tensor's name is empty, not printable, or longer than {MAX_NAME_CHARS} characters.")
    if not isinstance(entry, dict) or entry.keys() != TENSOR_KEYS:
        raise _bad(name, "is not described by a type, a shape and two offsets")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise _bad(name, "has a type that is not read")
    shape = _whole_numbers(entry["shape"])
    if shape is None or len(shape) > MAX_RANK:
        raise _bad(name, "has an impossible shape")
    offsets = _whole_numbers(entry["data_offsets"])
    if offsets is None or len(offsets) != 2:
        raise _bad(name, "has impossible offsets")
    if offsets[1] - offsets[0] != prod(shape) * DTYPE_BYTES[dtype]:
        raise _bad(name, "has a size that does not follow from its type and shape")
    return TensorInfo(dtype, shape, offsets[0], offsets[1])


def _whole_numbers(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    for number in value:
        if type(number) is not int or not 0 <= number <= MAX_NUMBER:
            return None
    return tuple(value)


def _bad(name: str, what: str) -> AdapterRefused:
    return AdapterRefused(f"The file's tensor '{name[:100]}' {what}.")


def _check_cover(tensors: Any, data_bytes: int) -> None:
    """The tensors must be contiguous and fill the file: no gaps, no overlaps, nothing hidden behind them."""
    places = sorted((tensor.start, tensor.end) for tensor in tensors)
    if not places:
        raise AdapterRefused("The file holds no tensors.")
    if places[0][0] != 0 or any(before[1] != after[0] for before, after in pairwise(places)):
        raise AdapterRefused("The file's tensors overlap or leave gaps between them.")
    if places[-1][1] > data_bytes:
        raise AdapterRefused("The file is cut short: its tensors reach beyond its end.")
    if places[-1][1] < data_bytes:
        raise AdapterRefused("The file holds bytes that belong to no tensor.")
