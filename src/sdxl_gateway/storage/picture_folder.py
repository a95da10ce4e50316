"""Stores encoded pictures as files of one folder; a table elsewhere has everything else about them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from sdxl_gateway.core.errors import Gone, StorageFull
from sdxl_gateway.core.files import INCOMING_SUFFIX, changed_at, write_whole
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.storage.directory import usable

ID_BYTES = 16
EXTENSIONS = ("png", "jpeg", "webp")
SETTLED_SECONDS = 600.0
"""A file without a row may be one whose row is yet to come, but not after this time."""

_NAME = re.compile(rf"([0-9a-f]{{{2 * ID_BYTES}}})(\.[0-9]{{1,12}})?\.({'|'.join(EXTENSIONS)})")
"""An earlier version, which kept no rows, put a number in the middle."""


class PictureFiles(Protocol):
    """A store of pictures' bytes; every method blocks, and raises Unavailable when the store cannot be reached."""

    def write(self, stored: StoredImage, data: bytes) -> None:
        """Store them durably, or nothing of them. Raises StorageFull."""

    def read(self, stored: StoredImage) -> bytes:
        """The picture's bytes. Raises Gone."""

    def find(self, image_id: str) -> StoredImage | None:
        """A picture without a row here, as when another server has the row; None when it is not known."""

    def delete(self, pictures: Iterable[StoredImage]) -> None:
        """Delete these; those that are gone already are no error."""

    def left_over(self, now: float) -> Iterator[tuple[str, str]]:
        """What is to be deleted unless it has a row: a picture's `file_name`, and the name to `remove` it by."""

    def remove(self, name: str) -> None:
        """Delete it."""


class PictureFolder:
    """PictureFiles named `<id>.<ext>` in one folder, which is made. Raises DirectoryUnusable."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with usable(directory):
            directory.mkdir(parents=True, exist_ok=True)

    def write(self, stored: StoredImage, data: bytes) -> None:
        """As PictureFiles."""
        try:
            write_whole(self.path_of(stored), [data])
        except OSError as error:
            raise StorageFull("The server's disk cannot take the picture.") from error

    def read(self, stored: StoredImage) -> bytes:
        """As PictureFiles."""
        try:
            return self.path_of(stored).read_bytes()
        except FileNotFoundError:
            raise Gone("The picture is gone.") from None

    def find(self, image_id: str) -> StoredImage | None:
        """None: what has no row is to be deleted."""
        return None

    def delete(self, pictures: Iterable[StoredImage]) -> None:
        """As PictureFiles; one that cannot be deleted now is deleted by a later sweep."""
        for stored in pictures:
            with contextlib.suppress(OSError):
                self.path_of(stored).unlink(missing_ok=True)

    def left_over(self, now: float) -> Iterator[tuple[str, str]]:
        """As PictureFiles: files that are not new. Files of foreign names stay."""
        for path in self._directory.iterdir():
            ours = _NAME.fullmatch(path.name) or path.name.endswith(INCOMING_SUFFIX)
            if ours and changed_at(path) < now - SETTLED_SECONDS:
                yield path.name, path.name

    def remove(self, name: str) -> None:
        """As PictureFiles."""
        (self._directory / name).unlink(missing_ok=True)

    def path_of(self, stored: StoredImage) -> Path:
        """The file that it is stored in."""
        return self._directory / stored.file_name
