"""The checkpoints in the data directory that were fetched from a bucket, each in a folder of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sdxl_gateway.catalog.checkpoint_folder.scan import open_named
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.core.errors import CheckpointProblem, ModelNotFound

FOLDER = "shared-checkpoints"
_WHOLE = re.compile(r"[0-9a-f]{64}")
"""The name of a folder whose checkpoint is complete."""


def stored_folder(data_directory: Path) -> Path:
    """The folder of these checkpoints: each in a sub-folder named by a sha256, laid out as a checkpoint folder."""
    return data_directory / FOLDER


def is_whole(folder: Path) -> bool:
    """Whether all of the folder's checkpoint is there."""
    return _WHOLE.fullmatch(folder.name) is not None


def open_stored(data_directory: Path, name: str) -> Iterator[CheckpointEntry]:
    """The complete checkpoints of that name that can be opened; several if it was replaced lately."""
    with suppress(OSError):
        for folder in filter(is_whole, sorted(stored_folder(data_directory).iterdir())):
            with suppress(CheckpointProblem, ModelNotFound, OSError):
                yield open_named(folder, name)
