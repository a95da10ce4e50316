"""Scans the LoRA folder: an entry for every usable file, and a problem for every other; reads headers only."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.fit import Fit
from sdxl_gateway.catalog.lora_folder.marks import Mark, mark_of
from sdxl_gateway.catalog.lora_folder.names import check_name, shown_name
from sdxl_gateway.catalog.lora_folder.sidecar import SUFFIX as SIDECAR_SUFFIX
from sdxl_gateway.catalog.lora_folder.sidecar import Defaults, sidecar_path, told_defaults, with_sidecar
from sdxl_gateway.catalog.lora_folder.walk import Candidate, candidates
from sdxl_gateway.catalog.lora_format.base_models import base_family
from sdxl_gateway.catalog.lora_format.peft_folder import folder_parts, read_folder_header
from sdxl_gateway.catalog.lora_format.plan import LoraPlan
from sdxl_gateway.catalog.lora_format.report import main_dtype, metadata_summary
from sdxl_gateway.catalog.safetensors_header import Header, read_header
from sdxl_gateway.config import HeaderCaps, Loras
from sdxl_gateway.core.errors import AdapterRefused, Refusal

UNFINISHED_SECONDS = 10
NEVER_OPENED = "Files that end in {} are never opened, as they may run code; save the LoRA as .safetensors."

Signature = tuple[Mark, ...]
"""The marks of all files of an entry, its side-car's last: equal while nothing has changed."""


@dataclass(frozen=True, slots=True)
class LoraEntry:
    """A usable file, or PEFT folder. `path` is never shown to callers; `created` is unix seconds.

    `dialect` and `ranks` are from its plan for the first checkpoint that it fits; unknown if there are no checkpoints.
    """

    name: str
    path: Path
    signature: Signature
    size_bytes: int
    created: int
    dtype: str
    base_family: str | None
    defaults: Defaults
    metadata: Mapping[str, str] = field(default_factory=dict)
    dialect: str | None = None
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something in the folder cannot be used, or only part of a side-car; `name` is the LoRA's, if it were one.

    `file` is its path below the LoRA folder; `code` is "invalid_lora", "invalid_sidecar" or "duplicate_name".
    """

    name: str
    message: str
    file: str
    code: str = "invalid_lora"


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of scanning one path; kept so that an unchanged file is not read again."""

    signature: Signature
    entry: LoraEntry | None
    problems: tuple[Problem, ...]


def scan_folder(root: Path, before: Mapping[str, Seen], limits: Loras, fit: Fit) -> dict[str, Seen]:
    """The results of everything below `root`, by path; those in `before` are reused for what did not change."""
    return {found.place: _look(root, found, before.get(found.place), limits, fit) for found in sorted(candidates(root))}


def _look(root: Path, found: Candidate, before: Seen | None, limits: Loras, fit: Fit) -> Seen:
    if not found.is_lora:
        return Seen((), None, (_problem(found, NEVER_OPENED.format(found.path.suffix)),))
    try:
        signature = _signature(found)
        if before is not None and before.signature == signature and not _may_be_unfinished(before):
            return before
        return _read(root, found, signature, limits, fit)
    except AdapterRefused as refused:
        return Seen((), None, (_problem(found, refused.message),))
    except OSError:
        return Seen((), None, (_problem(found, "The file cannot be read."),))


def _problem(found: Candidate, message: str) -> Problem:
    return Problem(shown_name(found.name), message, shown_name(found.place))


def _signature(found: Candidate) -> Signature:
    """As `signature_of`, without a system call for a side-car that is not there."""
    if found.is_folder or found.has_sidecar:
        return signature_of(found.path)
    return (mark_of(found.path.stat()),)


def _may_be_unfinished(seen: Seen) -> bool:
    """Whether it is unusable, but so new that it may be a copy in progress, whose marks may not show a change."""
    newest_ns = max((mtime_ns for _, mtime_ns, _ in seen.signature), default=0)
    return seen.entry is None and abs(time.time_ns() - newest_ns) < UNFINISHED_SECONDS * 10**9


def _read(root: Path, found: Candidate, signature: Signature, limits: Loras, fit: Fit) -> Seen:
    try:
        check_name(found.name)
        if found.is_folder or found.linked:
            check_inside(root, found.path)
        entry, problems = read_entry(found.path, found.name, signature, limits, fit)
    except Refusal as refused:
        return Seen(signature, None, (_problem(found, refused.message),))
    return Seen(signature, entry, problems)


def read_entry(
    path: Path, name: str, signature: Signature, limits: Loras, fit: Fit
) -> tuple[LoraEntry, tuple[Problem, ...]]:
    """The entry of a file or folder, and its side-car's problems. Raises AdapterRefused if it fits no checkpoint."""
    header = read_source_header(path, limits)
    return entry_of(header, path, name, signature, limits, fit.check(header))


def entry_of(
    header: Header, path: Path, name: str, signature: Signature, limits: Loras, plan: LoraPlan | None = None
) -> tuple[LoraEntry, tuple[Problem, ...]]:
    """As `read_entry`, for a header that was already read and planned."""
    size_bytes = header.data_start + header.data_bytes
    if size_bytes > limits.max_file_bytes:
        raise AdapterRefused(f"The file has {size_bytes} bytes; at most {limits.max_file_bytes} are served.")
    defaults = told_defaults(header.metadata, name)
    problems: tuple[str, ...] = ()
    # A single mark means that there is no side-car.
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
        dialect=plan.dialect if plan else None,
        ranks=plan.ranks if plan else (),
    )
    return entry, tuple(Problem(name, text, name + SIDECAR_SUFFIX, "invalid_sidecar") for text in problems)


def read_source_header(path: Path, caps: HeaderCaps) -> Header:
    """The header of a file, or of the single file that a PEFT folder is read as. Raises AdapterRefused."""
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
    """The marks of a file or folder, and of its side-car. Raises AdapterRefused if it does not exist."""
    try:
        sources = [file for part in folder_parts(path) for file in part.files] if path.is_dir() else [path]
        marks = [mark_of(file.stat()) for file in sources or [path]]
    except OSError as error:
        raise AdapterRefused("The file cannot be read.") from error
    return with_sidecar_mark(marks, path)


def with_sidecar_mark(marks: Sequence[Mark], path: Path) -> Signature:
    """The signature of the file or folder at `path` that has these marks, with its side-car as it is now."""
    try:
        return (*marks, mark_of(sidecar_path(path).stat()))
    except OSError:
        return tuple(marks)


def check_inside(root: Path, path: Path) -> None:
    """Raises AdapterRefused if links lead out of the folder."""
    real_root = os.path.realpath(root)
    paths = [file for part in folder_parts(path) for file in part.files] or [path]
    for each in paths:
        if not os.path.realpath(each).startswith(real_root + os.sep):
            raise AdapterRefused("The file is a link that leads out of the LoRA folder.")
