"""Takes the data directory, gives the checkpoints in it that came from elsewhere, each in a folder of its own."""

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
"""What a folder is called that holds all of its checkpoint."""


def stored_folder(data_directory: Path) -> Path:
    """Where they lie: each below a folder called by a sha256, as it would lie in the checkpoint folder."""
    return data_directory / FOLDER


def is_whole(folder: Path) -> bool:
    """All of its checkpoint is there."""
    return _WHOLE.fullmatch(folder.name) is not None


def open_stored(data_directory: Path, name: str) -> Iterator[CheckpointEntry]:
    """Those of that name that are whole and can be opened; several where it was replaced lately."""
    with suppress(OSError):
        for folder in filter(is_whole, sorted(stored_folder(data_directory).iterdir())):
            with suppress(CheckpointProblem, ModelNotFound, OSError):
                yield open_named(folder, name)
