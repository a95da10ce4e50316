"""The store of LoRA files: private copies under their sha256, which never change.

Files in the LoRA folder belong to the operator and may be truncated or overwritten at any time; only the copies are
used to paint.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.marks import CHANGED, mark_of, settled_mark
from sdxl_gateway.catalog.lora_folder.names import SUFFIX
from sdxl_gateway.catalog.lora_format.peft_folder import CHUNK_BYTES, NO_FOLLOW, FolderPart, folder_bytes, folder_parts
from sdxl_gateway.catalog.safetensors_header import open_regular_file
from sdxl_gateway.config import FileCaps, Loras
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.files import INCOMING_PREFIX, IncomingFile

FOLDER_NAME = "adapters"
DEFAULT_LIMITS = Loras()
ABANDONED_SECONDS = 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def store_path(data_directory: Path, digest: str) -> Path:
    """The path of the copy with this sha256. Raises AdapterRefused if it is not a sha256."""
    if not _DIGEST.match(digest):
        raise AdapterRefused("This is not the digest of a LoRA.")
    return data_directory / FOLDER_NAME / f"{digest}{SUFFIX}"


class IncomingCopy(IncomingFile):
    """A copy that is being written into the store, and hashed on the way; `size_bytes` is what was written so far."""

    def __init__(self, data_directory: Path) -> None:
        folder = data_directory / FOLDER_NAME
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        super().__init__(folder)
        self._data_directory = data_directory
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        """Append the bytes, and update the digest."""
        super().write(chunk)
        self._sha256.update(chunk)
        self.size_bytes += len(chunk)

    @property
    def digest(self) -> str:
        """The sha256 of what was written so far, in hex."""
        return self._sha256.hexdigest()

    def keep(self) -> str:
        """Put what was written into the store; its sha256."""
        digest = self.digest
        self.becomes(store_path(self._data_directory, digest))
        return digest


def keep_copy(source: Path, data_directory: Path, limits: FileCaps = DEFAULT_LIMITS) -> str:
    """Copy a file, or a PEFT folder as one file, into the store; the copy's sha256.

    Raises AdapterRefused if it is larger than a LoRA file may be, or changes while it is read.
    """
    if source.is_dir():
        parts = folder_parts(source)
        chunks = _steady_folder(parts, folder_bytes(parts, limits))
    else:
        chunks = _steady_bytes(source)
    return keep_bytes(chunks, data_directory, limits)


def keep_bytes(chunks: Iterable[bytes], data_directory: Path, limits: FileCaps = DEFAULT_LIMITS) -> str:
    """Put bytes into the store, whole or not at all; their sha256. Raises AdapterRefused if they are too many."""
    with IncomingCopy(data_directory) as copy:
        for chunk in chunks:
            copy.write(chunk)
            if copy.size_bytes > limits.max_file_bytes:
                raise AdapterRefused(f"The file is larger than {limits.max_file_bytes} bytes.")
        return copy.keep()


def _steady_bytes(source: Path) -> Iterator[bytes]:
    with open_regular_file(source, NO_FOLLOW) as file:
        before = settled_mark(lambda: os.fstat(file.fileno()))
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
        after = mark_of(os.fstat(file.fileno()))
    if before != after:
        raise AdapterRefused(CHANGED)


def _steady_folder(parts: Sequence[FolderPart], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks; raises AdapterRefused after the last one if one of the files has changed since the first."""
    files = [file for part in parts for file in part.files]
    try:
        before = [settled_mark(file.stat) for file in files]
        yield from chunks
        after = [mark_of(file.stat()) for file in files]
    except OSError as error:
        raise AdapterRefused(CHANGED) from error
    if before != after:
        raise AdapterRefused(CHANGED)


def prune(
    data_directory: Path,
    keep: Collection[str],
    *,
    max_age_seconds: float,
    max_total_bytes: int,
    now: float | None = None,
) -> list[str]:
    """Remove copies whose digest is not in `keep`: those older than `max_age_seconds`, then the oldest until the rest
    fits `max_total_bytes`; also the remains of interrupted copies. The removed digests."""
    removed = surplus(data_directory, keep, max_age_seconds=max_age_seconds, max_total_bytes=max_total_bytes, now=now)
    for path in removed:
        path.unlink(missing_ok=True)
    remove_abandoned(data_directory, now=now)
    return [path.stem for path in removed]


def surplus(
    data_directory: Path,
    keep: Collection[str],
    *,
    max_age_seconds: float,
    max_total_bytes: int,
    fresh_seconds: float = 0.0,
    now: float | None = None,
) -> list[Path]:
    """The copies that `prune` would remove; none younger than `fresh_seconds`."""
    now = time.time() if now is None else now
    copies = sorted(_copies(data_directory / FOLDER_NAME), key=lambda copy: copy[1])
    total = sum(size for _, _, size in copies)
    found = []
    for path, modified, size in copies:
        age = now - modified
        is_needed = path.stem in keep or age < fresh_seconds
        if not is_needed and (age > max_age_seconds or total > max_total_bytes):
            total -= size
            found.append(path)
    return found


def remove_abandoned(data_directory: Path, now: float | None = None) -> None:
    """Remove the remains of copies that were interrupted long ago."""
    now = time.time() if now is None else now
    for path in (data_directory / FOLDER_NAME).glob(f"{INCOMING_PREFIX}*"):
        with suppress(FileNotFoundError):
            if now - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink(missing_ok=True)


def _copies(folder: Path) -> Iterator[tuple[Path, float, int]]:
    for path in folder.glob(f"*{SUFFIX}"):
        if _DIGEST.match(path.stem):
            with suppress(FileNotFoundError):
                status = path.stat()
                yield path, status.st_mtime, status.st_size
