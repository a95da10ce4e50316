"""Finds what may be a LoRA in the LoRA folder, or looks like one, by names only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sdxl_gateway.catalog.lora_folder.names import MAX_DEPTH, OTHER_WEIGHTS, has_suffix, place_name, without_suffix
from sdxl_gateway.catalog.lora_folder.sidecar import SUFFIX as SIDECAR_SUFFIX
from sdxl_gateway.catalog.lora_format.peft_config import CONFIG_NAME


class Candidate(NamedTuple):
    """A file, or a PEFT folder; `place` is its path below the LoRA folder, with "/".

    `linked` says whether the path below the LoRA folder includes a link; `has_sidecar` is only set for files.
    """

    place: str
    path: Path
    is_folder: bool
    linked: bool
    has_sidecar: bool

    @property
    def name(self) -> str:
        """Its name as a LoRA."""
        return place_name(self.place if self.is_lora else self.place.rpartition(".")[0])

    @property
    def is_lora(self) -> bool:
        """Whether it may be a LoRA by its name; if not, it has weights in a format that is never opened."""
        return self.is_folder or has_suffix(self.place)


class _Folder(NamedTuple):
    path: str
    place: str
    depth: int
    linked: bool


def candidates(root: Path) -> Iterator[Candidate]:
    """Each folder is entered once, even if links form a cycle."""
    entered: set[tuple[int, int]] = set()
    waiting = [_Folder(os.fspath(root), "", 0, False)]
    while waiting:
        folder = waiting.pop()
        inside = _listed(folder.path, entered)
        names = {item.name for item in inside}
        if CONFIG_NAME in names and folder.place:
            yield Candidate(folder.place.removesuffix("/"), Path(folder.path), True, folder.linked, False)
            continue
        for item in inside:
            if item.name.startswith("."):
                continue
            linked = folder.linked or item.is_symlink()
            if _is_folder(item):
                if folder.depth < MAX_DEPTH:
                    waiting.append(_Folder(item.path, f"{folder.place}{item.name}/", folder.depth + 1, linked))
            elif has_suffix(item.name) or item.name.lower().endswith(OTHER_WEIGHTS):
                has_sidecar = without_suffix(item.name) + SIDECAR_SUFFIX in names
                yield Candidate(folder.place + item.name, Path(item.path), False, linked, has_sidecar)


def _listed(folder: str, entered: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in entered:
                return []
            entered.add((status.st_dev, status.st_ino))
            return list(items)
    except OSError:
        return []


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:
        return False
