"""Takes bytes of any length, gives an unguessable id, keeps them as a file: whole and on the disk, or not at all."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sdxl_gateway.core.errors import Gone, StorageFull
from sdxl_gateway.core.files import INCOMING_PREFIX, IncomingFile, sync_folder

ID_BYTES = 16
PIECE_BYTES = 2**20
SPARED_SECONDS = 3600.0
"""What was put here is known to its owner's table by then; what is not has no owner any more."""
_ID = re.compile(r"[0-9a-f]{32}")


class BlobFolder:
    """One folder of blobs, which whoever keeps their ids has for itself alone; made where there is none.

    Everything here blocks: call it from a thread.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock

    def put(self, data: bytes) -> str:
        """The id of these bytes. Raises StorageFull, and nothing is left of them then."""
        with self.incoming() as file:
            file.write(data)
            return self.take(file)

    def put_file(self, path: Path) -> str:
        """The id of the bytes in `path`, which are copied a piece at a time. Raises StorageFull, OSError."""
        with path.open("rb") as source, self.incoming() as file:
            while piece := source.read(PIECE_BYTES):
                file.write(piece)
            return self.take(file)

    @contextmanager
    def incoming(self) -> Iterator[IncomingFile]:
        """A file to write a blob into piece by piece, then to `take`; gone at the end where it was not.

        Raises StorageFull for what the disk says inside.
        """
        with _refusals():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.new_file() as file:
                yield file

    def new_file(self) -> IncomingFile:
        """What `incoming` gives."""
        return IncomingFile(self._directory)

    def take(self, file: IncomingFile) -> str:
        """The id of what was written into this folder's own `incoming`."""
        blob_id = secrets.token_hex(ID_BYTES)
        file.becomes(self.path_of(blob_id))
        return blob_id

    def read(self, blob_id: str) -> bytes:
        """All of it. Raises Gone where it is not there any more."""
        return b"".join(self.pieces(blob_id))

    def pieces(self, blob_id: str) -> Iterator[bytes]:
        """All of it, at most a mebibyte at a time. Raises Gone at once where it is not there any more."""
        try:
            file = self.path_of(blob_id).open("rb")
        except FileNotFoundError:
            raise Gone("What was kept here is gone.") from None
        return _pieces(file)

    def path_of(self, blob_id: str) -> Path:
        """The file it lies in. Raises ValueError for what is no blob's id, so that nothing else is ever touched."""
        if not _ID.fullmatch(blob_id):
            raise ValueError("no blob's id")
        return self._directory / blob_id

    def delete(self, *blob_ids: str) -> None:
        """Nothing of these is left; nor was of those that are gone already."""
        for blob_id in blob_ids:
            self.path_of(blob_id).unlink(missing_ok=True)

    def sweep(self, known_ids: Set[str], *, spared_seconds: float = SPARED_SECONDS) -> int:
        """Deletes what no id is known of, also what a killed process left half-written; how many that were.

        What is younger than `spared_seconds` stays: its id may be on its way into a table.
        """
        if not self._directory.exists():
            return 0
        over = [path for path in self._directory.iterdir() if path.name not in known_ids and _ours(path)]
        old = [path for path in over if self._clock() - _changed(path) >= spared_seconds]
        for path in old:
            path.unlink(missing_ok=True)
        sync_folder(self._directory)
        return len(old)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _ours(path: Path) -> bool:
    return path.name.startswith(INCOMING_PREFIX) or _ID.fullmatch(path.name) is not None


def _changed(path: Path) -> float:
    """Unix seconds; of what went away meanwhile, never."""
    try:
        return os.stat(path).st_mtime  # noqa: PTH116
    except FileNotFoundError:
        return float("inf")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFull("The server's disk cannot take what was to be kept.") from error
