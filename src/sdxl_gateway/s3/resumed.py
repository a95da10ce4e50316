"""Takes the bytes of a large file as they come, gives the file once its sha256 is the one that was promised."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.files import INCOMING_SUFFIX
from sdxl_gateway.s3.mirror import LIES


class Resumed:
    """What came of the file `path` so far: beside it until it is whole, and there again after a break, or a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._coming = path.with_name(path.name + INCOMING_SUFFIX)

    @property
    def size_bytes(self) -> int:
        """How much of it is here."""
        return self._coming.stat().st_size if self._coming.exists() else 0

    def take(self, pieces: Iterable[bytes], digest: str) -> None:
        """What follows, to the end; the file is whole then, and on the disk.

        Raises CheckpointProblem where it is not that of the `digest`, and nothing is left of it.
        """
        with self._coming.open("a+b") as file:
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256")
            for piece in pieces:
                file.write(piece)
                sha256.update(piece)
            file.flush()
            os.fsync(file.fileno())
        if sha256.hexdigest() != digest:
            self._coming.unlink()
            raise CheckpointProblem(LIES)
        self._coming.rename(self._path)
