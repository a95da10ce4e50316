"""Finds what may be a checkpoint in the checkpoint folder, or looks like one, by names only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sdxl_gateway.catalog.lora_folder.names import OTHER_WEIGHTS, has_suffix, place_name

INDEX = "model_index.json"
MAX_DEPTH = 8
"""How many folders deep a checkpoint may be."""


class Candidate(NamedTuple):
    """A file, or a diffusers folder; `place` is its path below the checkpoint folder, with "/"."""

    place: str
    path: Path
    is_folder: bool

    @property
    def name(self) -> str:
        """Its name as a model."""
        return place_name(self.place if self.is_checkpoint else self.place.rpartition(".")[0])

    @property
    def is_checkpoint(self) -> bool:
        """Whether it may be a checkpoint by its name; if not, it has weights in a format that is never opened."""
        return self.is_folder or has_suffix(self.place)


def candidates(root: Path) -> Iterator[Candidate]:
    """Follows links, as people keep such files elsewhere; each folder is entered once, even if links form a cycle."""
    entered: set[tuple[int, int]] = set()
    waiting = [(root, "", 0)]
    while waiting:
        folder, place, depth = waiting.pop()
        inside = _listed(folder, entered)
        if place and _is_diffusers(inside):
            yield Candidate(place, folder, True)
            continue
        for item in inside:
            below = f"{place}/{item.name}" if place else item.name
            if item.is_dir():
                if depth < MAX_DEPTH:
                    waiting.append((Path(item.path), below, depth + 1))
            elif has_suffix(item.name) or item.name.lower().endswith(OTHER_WEIGHTS):
                yield Candidate(below, Path(item.path), False)


def _listed(folder: Path, entered: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered:
            return []
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as items:
            return [item for item in items if not item.name.startswith(".")]
    except OSError:
        return []


def _is_diffusers(inside: list[os.DirEntry[str]]) -> bool:
    """Also true before the index is there, as while a folder is being copied."""
    return any(item.name == INDEX or (item.name == "unet" and item.is_dir()) for item in inside)
