"""Takes the LoRA folder, gives an entry for every usable file in it and a problem for every other; headers only."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.sidecar import SUFFIX as SIDECAR_SUFFIX
from sdxl_gateway.catalog.lora_folder.sidecar import Defaults, sidecar_path, told_defaults, with_sidecar
from sdxl_gateway.catalog.lora_folder.walk import Candidate, candidates
from sdxl_gateway.catalog.lora_format.base_models import base_family
from sdxl_gateway.catalog.lora_format.peft_folder import folder_parts, read_folder_header
from sdxl_gateway.catalog.lora_format.report import main_dtype, metadata_summary
from sdxl_gateway.catalog.safetensors_header import Header, read_header
from sdxl_gateway.config import HeaderCaps, Loras
from sdxl_gateway.core.errors import AdapterRefused

UNFINISHED_SECONDS = 10
MAX_NAME_CHARS = 200
_ENDS_LIKE_WEIGHT = re.compile(r":\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*\Z")

Signature = tuple[tuple[int, int, int], ...]
"""(size, mtime_ns, inode) of each file an entry is made of, its side-car last: equal while nothing changed."""


@dataclass(frozen=True, slots=True)
class LoraEntry:
    """A usable file, or PEFT folder. `path` never leaves the house; `created` is seconds since the epoch."""

    name: str
    path: Path
    signature: Signature
    size_bytes: int
    created: int
    dtype: str
    base_family: str | None
    defaults: Defaults
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something in the folder is no model, or a side-car not wholly used; `name` as a LoRA would be named.

    `file` is its place below the LoRA folder; `code` is "invalid_lora", "invalid_sidecar" or "duplicate_name".
    """

    name: str
    message: str
    file: str
    code: str = "invalid_lora"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a path gave; kept so that an unchanged file is not read again."""

    signature: Signature
    entry: LoraEntry | None
    problems: tuple[Problem, ...]


def scan_folder(root: Path, before: Mapping[str, Seen], limits: Loras) -> dict[str, Seen]:
    """Everything in `root` and below, by its place there; what did not change since `before` is taken over."""
    return {found.place: _look(root, found, before.get(found.place), limits) for found in sorted(candidates(root))}


def _look(root: Path, found: Candidate, before: Seen | None, limits: Loras) -> Seen:
    try:
        signature = _signature(found)
        if before is not None and before.signature == signature and not _may_be_unfinished(before):
            return before
        return _read(root, found, signature, limits)
    except AdapterRefused as refused:
        return Seen((), None, (_problem(found, refused.message),))
    except OSError:
        return Seen((), None, (_problem(found, "The file cannot be read."),))


def _problem(found: Candidate, message: str) -> Problem:
    return Problem(shown_name(found.name), message, shown_name(found.place))


def _signature(found: Candidate) -> Signature:
    """As `signature_of`, asking for no side-car that is not there."""
    if found.is_folder or found.has_sidecar:
        return signature_of(found.path)
    return (_mark(found.path),)


def _may_be_unfinished(seen: Seen) -> bool:
    """Broken, but changed so lately that it may be a copy in progress whose marks do not tell."""
    newest_ns = max((mtime_ns for _, mtime_ns, _ in seen.signature), default=0)
    return seen.entry is None and abs(time.time_ns() - newest_ns) < UNFINISHED_SECONDS * 10**9


def _read(root: Path, found: Candidate, signature: Signature, limits: Loras) -> Seen:
    try:
        check_name(found.name)
        if found.is_folder or found.linked:
            check_inside(root, found.path)
        entry, problems = read_entry(found.path, found.name, signature, limits)
    except AdapterRefused as refused:
        return Seen(signature, None, (_problem(found, refused.message),))
    return Seen(signature, entry, problems)


def read_entry(path: Path, name: str, signature: Signature, limits: Loras) -> tuple[LoraEntry, tuple[Problem, ...]]:
    """The entry of a file or folder, with its side-car's problems. Raises AdapterRefused."""
    header = read_source_header(path, limits)
    size_bytes = header.data_start + header.data_bytes
    if size_bytes > limits.max_file_bytes:
        raise AdapterRefused(f"The file has {size_bytes} bytes; at most {limits.max_file_bytes} are served.")
    defaults = told_defaults(header.metadata)
    problems: tuple[str, ...] = ()
    # One mark alone is that of a file without a side-car.
    if len(signature) > 1 and (sidecar := sidecar_path(path)).is_file():
        defaults, problems = with_sidecar(defaults, sidecar)
    entry = LoraEntry(
        name=name,
        path=path,
        signature=signature,
        size_bytes=size_bytes,
        created=max(mtime_ns for _, mtime_ns, _ in signature) // 10**9,
        dtype=main_dtype(header),
        base_family=base_family(header),
        defaults=defaults,
        metadata=metadata_summary(header.metadata),
    )
    return entry, tuple(Problem(name, text, name + SIDECAR_SUFFIX, "invalid_sidecar") for text in problems)


def read_source_header(path: Path, caps: HeaderCaps) -> Header:
    """The header of a file, or of the one file a PEFT folder amounts to. Raises AdapterRefused."""
    try:
        return read_header(path, caps)
    except AdapterRefused:
        if not path.is_dir():
            raise
    parts = folder_parts(path)
    if not parts:
        raise AdapterRefused("The folder has an adapter_config.json but no adapter_model.safetensors.")
    return read_folder_header(parts, caps)


def signature_of(path: Path) -> Signature:
    """Raises AdapterRefused when the file is gone."""
    try:
        sources = [file for part in folder_parts(path) for file in part.files] if path.is_dir() else [path]
        marks = [_mark(file) for file in sources or [path]]
    except OSError as error:
        raise AdapterRefused("The file cannot be read.") from error
    try:
        return (*marks, _mark(sidecar_path(path)))
    except OSError:
        return tuple(marks)


def _mark(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        return 0, status.st_mtime_ns, status.st_ino
    return status.st_size, status.st_mtime_ns, status.st_ino


def check_name(name: str) -> None:
    """Raises AdapterRefused for a name that could not be asked for, or would mean something else."""
    if len(name) > MAX_NAME_CHARS:
        raise AdapterRefused(f"The name is longer than {MAX_NAME_CHARS} characters; rename the file.")
    if not name.isprintable() or not name.strip() or name != name.strip():
        raise AdapterRefused("The name has characters that cannot be shown, or begins or ends with a space; rename it.")
    if "+" in name or _ENDS_LIKE_WEIGHT.search(name):
        raise AdapterRefused("The name holds a '+' or ends like a weight (':0.8'), which mean something; rename it.")


def check_inside(root: Path, path: Path) -> None:
    """Raises AdapterRefused when links lead out of the folder."""
    real_root = os.path.realpath(root)
    paths = [file for part in folder_parts(path) for file in part.files] or [path]
    for each in paths:
        if not os.path.realpath(each).startswith(real_root + os.sep):
            raise AdapterRefused("The file is a link that leads out of the LoRA folder.")


def shown_name(name: str) -> str:
    """A name fit for a log or an answer."""
    escaped = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in escaped)[:MAX_NAME_CHARS]
