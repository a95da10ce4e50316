"""Takes bytes of any length, gives an unguessable id, keeps them: whole and for good, or not at all."""

from __future__ import annotations

import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from sdxl_gateway.core.errors import Gone, StorageFull
from sdxl_gateway.core.files import INCOMING_PREFIX, IncomingFile, changed_at, sync_folder

ID_BYTES = 16
PIECE_BYTES = 2**20
SPARED_SECONDS = 3600.0
"""What was put here is known to its owner's table by then; what is not has no owner any more."""
_ID = re.compile(r"[0-9a-f]{32}")


class Blobs(ABC):
    """Blobs that whoever keeps their ids has for itself alone. `spool` is a folder for those on their way; it is made.

    Everything here blocks: call it from a thread. What is not on this machine raises Unavailable where it cannot be
    reached.
    """

    spool: Path

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
            self.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.new_file() as file:
                yield file

    def new_file(self) -> IncomingFile:
        """What `incoming` gives."""
        return IncomingFile(self.spool)

    def written(self, file: IncomingFile) -> bytes:
        """What was written into a file of `incoming`, which nothing more is written into, nor is it taken."""
        file.settle()
        return file.path.read_bytes()

    def read(self, blob_id: str) -> bytes:
        """All of it. Raises Gone where it is not there any more."""
        return b"".join(self.pieces(blob_id))

    def address(self, blob_id: str) -> str | None:
        """Under what other servers read it; None where it lies on this machine alone."""
        return None

    def read_at(self, address: str) -> bytes:
        """All of a blob that another server has, at its `address`. Raises Gone."""
        return b"".join(self.pieces_at(address))

    def pieces_at(self, address: str) -> Iterator[bytes]:
        """The same, a piece at a time. Raises Gone."""
        raise gone()

    @abstractmethod
    def take(self, file: IncomingFile) -> str:
        """The id of what was written into a file of `incoming`."""

    @abstractmethod
    def pieces(self, blob_id: str) -> Iterator[bytes]:
        """All of it, a piece at a time. Raises Gone at once where it is not there any more."""

    @abstractmethod
    def delete(self, *blob_ids: str) -> None:
        """Nothing of these is left; nor was of those that are gone already."""

    @abstractmethod
    def sweep(self, known_ids: Set[str], *, spared_seconds: float = SPARED_SECONDS) -> int:
        """Deletes what no id is known of, also what a killed process left half-written; how many that were.

        What is younger than `spared_seconds` stays: its id may be on its way into a table.
        """


class BlobFolder(Blobs):
    """One folder of blobs, each a file of its id; made where there is none."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.spool = directory
        self._clock = clock

    def take(self, file: IncomingFile) -> str:
        """As Blobs; it is on the disk then."""
        blob_id = new_blob_id()
        file.becomes(self.path_of(blob_id))
        return blob_id

    def pieces(self, blob_id: str) -> Iterator[bytes]:
        """As Blobs, at most a mebibyte at a time."""
        pieces = _pieces(self.path_of(blob_id))
        # Begun here, so that it is closed with the iterator, also where nobody ever asks for a piece.
        next(pieces)
        return pieces

    def path_of(self, blob_id: str) -> Path:
        """The file it lies in. Raises ValueError for what is no blob's id, so that nothing else is ever touched."""
        return self.spool / checked(blob_id)

    def delete(self, *blob_ids: str) -> None:
        """As Blobs."""
        for blob_id in blob_ids:
            self.path_of(blob_id).unlink(missing_ok=True)

    def sweep(self, known_ids: Set[str], *, spared_seconds: float = SPARED_SECONDS) -> int:
        """As Blobs."""
        before = self._clock() - spared_seconds
        return remove_old(self.spool, before, lambda name: name not in known_ids and _is_ours(name))


def new_blob_id() -> str:
    """One that nobody guesses."""
    return secrets.token_hex(ID_BYTES)


def is_blob_id(name: str) -> bool:
    """It may be the name of a blob."""
    return _ID.fullmatch(name) is not None


def checked(blob_id: str) -> str:
    """The same. Raises ValueError for what is no blob's id."""
    if not is_blob_id(blob_id):
        raise ValueError("no blob's id")
    return blob_id


def gone() -> Gone:
    """The refusal of a blob that is not there any more."""
    return Gone("What was kept here is gone.")


def is_incoming(name: str) -> bool:
    """It is the name of a file that was being written."""
    return name.startswith(INCOMING_PREFIX)


def remove_old(folder: Path, before: float, chosen: Callable[[str], bool]) -> int:
    """Removes the files of these names that were written before that time, in unix seconds; how many that were."""
    if not folder.exists():
        return 0
    old = [path for path in folder.iterdir() if chosen(path.name) and changed_at(path) <= before]
    for path in old:
        path.unlink(missing_ok=True)
    sync_folder(folder)
    return len(old)


def _pieces(path: Path) -> Iterator[bytes]:
    """Nothing at first, which says that it is there."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise gone() from None
    with file:
        yield b""
        while piece := file.read(PIECE_BYTES):
            yield piece


def _is_ours(name: str) -> bool:
    return is_incoming(name) or is_blob_id(name)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFull("The server's disk cannot take what was to be kept.") from error
