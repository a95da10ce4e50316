"""Stores bytes of any length under an unguessable id, durably: all of them, or nothing."""

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
"""A blob that no table refers to after this time has no owner any more."""
_ID = re.compile(r"[0-9a-f]{32}")


class Blobs(ABC):
    """A store of blobs for one owner, who keeps their ids. `spool` is a folder for blobs being written; it is created.

    Everything here blocks: call it from a thread. A store on another machine raises Unavailable when it cannot be
    reached.
    """

    spool: Path

    def put(self, data: bytes) -> str:
        """Store these bytes; their id. Raises StorageFull, and leaves nothing then."""
        with self.incoming() as file:
            file.write(data)
            return self.take(file)

    def put_file(self, path: Path) -> str:
        """Store the bytes of a file, a piece at a time; their id. Raises StorageFull, OSError."""
        with path.open("rb") as source, self.incoming() as file:
            while piece := source.read(PIECE_BYTES):
                file.write(piece)
            return self.take(file)

    @contextmanager
    def incoming(self) -> Iterator[IncomingFile]:
        """A file to write a blob into piece by piece, and then to `take`; otherwise it is deleted at the end.

        Raises StorageFull for an OSError inside the context.
        """
        with _refusals():
            self.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.new_file() as file:
                yield file

    def new_file(self) -> IncomingFile:
        """What `incoming` gives."""
        return IncomingFile(self.spool)

    def written(self, file: IncomingFile) -> bytes:
        """What was written into a file of `incoming`; nothing may be written to it, or taken, afterwards."""
        file.settle()
        return file.path.read_bytes()

    def read(self, blob_id: str) -> bytes:
        """The whole blob. Raises Gone."""
        return b"".join(self.pieces(blob_id))

    def address(self, blob_id: str) -> str | None:
        """The address under which other servers can read it; None when it is on this machine alone."""
        return None

    def read_at(self, address: str) -> bytes:
        """The whole blob at another server's `address`. Raises Gone."""
        return b"".join(self.pieces_at(address))

    def pieces_at(self, address: str) -> Iterator[bytes]:
        """The same, a piece at a time. Raises Gone."""
        raise gone()

    @abstractmethod
    def take(self, file: IncomingFile) -> str:
        """Store what was written into a file of `incoming`; its id."""

    @abstractmethod
    def pieces(self, blob_id: str) -> Iterator[bytes]:
        """The blob, a piece at a time. Raises Gone, at once."""

    @abstractmethod
    def delete(self, *blob_ids: str) -> None:
        """Delete these blobs; those that are gone already are no error."""

    @abstractmethod
    def sweep(self, known_ids: Set[str], *, spared_seconds: float = SPARED_SECONDS) -> int:
        """Delete blobs of unknown ids, and what killed processes left half-written; how many that were.

        What is younger than `spared_seconds` stays: its id may be on its way into a table.
        """


class BlobFolder(Blobs):
    """Blobs as files of one folder, named by their ids; the folder is created."""

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
    """A random id that cannot be guessed."""
    return secrets.token_hex(ID_BYTES)


def is_blob_id(name: str) -> bool:
    """Whether it may be the id of a blob."""
    return _ID.fullmatch(name) is not None


def checked(blob_id: str) -> str:
    """The id itself. Raises ValueError for anything else."""
    if not is_blob_id(blob_id):
        raise ValueError("no blob's id")
    return blob_id


def gone() -> Gone:
    """The error for a blob that does not exist."""
    return Gone("What was kept here is gone.")


def is_incoming(name: str) -> bool:
    """Whether it is the name of a file being written."""
    return name.startswith(INCOMING_PREFIX)


def remove_old(folder: Path, before: float, chosen: Callable[[str], bool]) -> int:
    """Delete the `chosen` files that were last written before that time (unix seconds); how many that were."""
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
