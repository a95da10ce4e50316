"""Scans the checkpoint folder: an entry for every usable checkpoint in it, and a problem for everything else."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_gateway.catalog.checkpoint_folder.sidecar import read_section, sidecar_path
from sdxl_gateway.catalog.checkpoint_folder.walk import Candidate, candidates
from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint
from sdxl_gateway.catalog.lora_folder.marks import Mark, mark_of
from sdxl_gateway.catalog.lora_folder.names import check_name, shown_name
from sdxl_gateway.catalog.model_files import TOKENIZERS, components_of, headers
from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from sdxl_gateway.core.errors import CheckpointProblem, ModelNotFound, Refusal
from sdxl_gateway.core.text import shown

UNFINISHED_SECONDS = 10
NEVER_OPENED = (
    "Files that end in {} are never opened, as they may run code: save the checkpoint as .safetensors, or as a"
    " diffusers folder of such files."
)
NOT_OF_PIXELS = {
    *("path", "native_pixels", "description", "refiner"),
    *("steps", "guidance_scale", "guidance_end", "sampler", "schedule", "clip_skip", "prompt_syntax"),
}
"""Keys of a section that do not change the models, because recipes decide them, or they do not affect pictures."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something in the folder cannot be used, or only part of a side-car; `name` is the model's, if it were one.

    `file` is its path below the folder; `code` is "invalid_checkpoint", "invalid_sidecar" or "duplicate_name".
    """

    name: str
    message: str
    file: str
    code: str = "invalid_checkpoint"


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of scanning one path; kept so that what did not change is not read again."""

    signature: tuple[Mark, ...]
    entry: CheckpointEntry | None
    problems: tuple[Problem, ...]


def scan_folder(root: Path, before: Mapping[str, Seen]) -> dict[str, Seen]:
    """The results of everything below `root`, by path; those in `before` are reused for what did not change."""
    return {found.place: _look(found, before.get(found.place)) for found in sorted(candidates(root))}


def open_named(root: Path, name: str) -> CheckpointEntry:
    """The checkpoint of that name as it is in `root` now. Raises ModelNotFound, CheckpointProblem."""
    for found in sorted(candidates(root)):
        if found.is_checkpoint and found.name == name:
            return _opened(found)[0]
    raise ModelNotFound(f"There is no checkpoint {shown(name)}.")


def open_at(path: Path) -> CheckpointEntry:
    """The checkpoint at `path`, named as if its parent were a checkpoint folder. Raises CheckpointProblem."""
    return _opened(Candidate(path.name, path, path.is_dir()))[0]


def _look(found: Candidate, before: Seen | None) -> Seen:
    if not found.is_checkpoint:
        return Seen((), None, (_problem(found, NEVER_OPENED.format(found.path.suffix)),))
    try:
        signature = _signature(found)
        if before is not None and before.signature == signature and not _may_be_unfinished(before):
            return before
        return _read(found, signature)
    except OSError:
        return Seen((), None, (_problem(found, "It cannot be read."),))


def _read(found: Candidate, signature: tuple[Mark, ...]) -> Seen:
    try:
        check_name(found.name)
        entry, told = _opened(found)
    except CheckpointProblem as problem:
        return Seen(signature, None, (_problem(found, _without_paths(str(problem), found)),))
    except Refusal as refused:
        return Seen(signature, None, (_problem(found, refused.message),))
    sidecar = shown_name(f"{found.name}.toml")
    return Seen(signature, entry, tuple(Problem(found.name, message, sidecar, "invalid_sidecar") for message in told))


def _opened(found: Candidate) -> tuple[CheckpointEntry, tuple[str, ...]]:
    """The entry, and the problems of its side-car. Raises CheckpointProblem."""
    section, told = read_section(found.path)
    entry = open_checkpoint(found.name, section, DEMO_MODEL)
    if found.is_folder:
        _check_whole(found.path, section)
    return replace(entry, digest=_digest(entry)), told


def _check_whole(folder: Path, section: Checkpoint) -> None:
    """Raises CheckpointProblem if parts of a checkpoint's folder are missing, before anybody asks for it."""
    tokenizers = [TOKENIZERS[part] for part in components_of(folder) if part in TOKENIZERS]
    missing = [part for part in (*tokenizers, "scheduler") if not (folder / part).is_dir()]
    if missing:
        raise CheckpointProblem(f"The folder '{missing[0]}/' is missing.")
    if section.vae is None:
        for _ in headers(folder / "vae"):
            pass


def _digest(entry: CheckpointEntry) -> str:
    """A digest of the files, and of side-car keys that change their models, such as another VAE."""
    told = entry.section.model_dump_json(exclude=NOT_OF_PIXELS, exclude_defaults=True)
    return entry.digest if told == "{}" else hashlib.sha256(f"{entry.digest} {told}".encode()).hexdigest()


def _signature(found: Candidate) -> tuple[Mark, ...]:
    return tuple(mark_of(path.stat()) for path in _files(found))


def _files(found: Candidate) -> Iterator[Path]:
    if found.is_folder:
        yield from sorted(found.path.rglob("*"))
    yield found.path
    if (sidecar := sidecar_path(found.path)).exists():
        yield sidecar


def _may_be_unfinished(seen: Seen) -> bool:
    """Whether it is unusable, but so new that it may be a copy in progress, whose marks may not show a change."""
    newest_ns = max((mtime_ns for _, mtime_ns, _ in seen.signature), default=0)
    return seen.entry is None and abs(time.time_ns() - newest_ns) < UNFINISHED_SECONDS * 10**9


def _problem(found: Candidate, message: str) -> Problem:
    return Problem(shown_name(found.name), message, shown_name(found.place))


def _without_paths(message: str, found: Candidate) -> str:
    """The message without the folder's path, which callers are not to know."""
    for path in (found.path, found.path.resolve()):
        message = message.replace(str(path), found.place)
    return message
