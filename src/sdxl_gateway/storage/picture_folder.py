"""Takes encoded pictures, keeps each as a file of one folder; what each is stands in a table, which is not here."""

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
"""A file that no row names may be one whose row is yet to come, but not for so long."""

_NAME = re.compile(rf"([0-9a-f]{{{2 * ID_BYTES}}})(\.[0-9]{{1,12}})?\.({'|'.join(EXTENSIONS)})")
"""The number in the middle is an earlier version's, which kept no rows."""


class PictureFiles(Protocol):
    """Where pictures' bytes lie; every method blocks, and raises Unavailable where that cannot be reached."""

    def write(self, stored: StoredImage, data: bytes) -> None:
        """They are there for good when this returns, or nothing of them is. Raises StorageFull."""

    def read(self, stored: StoredImage) -> bytes:
        """All of them. Raises Gone."""

    def find(self, image_id: str) -> StoredImage | None:
        """What is known here of a picture that no row tells of, as where another server keeps the row."""

    def delete(self, pictures: Iterable[StoredImage]) -> None:
        """Nothing of these is left; nor was of those that are gone already."""

    def left_over(self, now: float) -> Iterator[tuple[str, str]]:
        """Names of what goes unless a row tells of it: a picture's `file_name`, and what `remove` calls it."""

    def remove(self, name: str) -> None:
        """It is gone."""


class PictureFolder:
    """PictureFiles named `<id>.<ext>` in one folder, which is made. Raises DirectoryUnusable."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with usable(directory):
            directory.mkdir(parents=True, exist_ok=True)

    def write(self, stored: StoredImage, data: bytes) -> None:
        """As PictureFiles; a power cut takes nothing away."""
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
        """None: what has no row is left over."""
        return None

    def delete(self, pictures: Iterable[StoredImage]) -> None:
        """As PictureFiles; one that the disk does not let go of is left over."""
        for stored in pictures:
            with contextlib.suppress(OSError):
                self.path_of(stored).unlink(missing_ok=True)

    def left_over(self, now: float) -> Iterator[tuple[str, str]]:
        """Each file of ours that has been there for a while. Files of other names stay."""
        for path in self._directory.iterdir():
            ours = _NAME.fullmatch(path.name) or path.name.endswith(INCOMING_SUFFIX)
            if ours and changed_at(path) < now - SETTLED_SECONDS:
                yield path.name, path.name

    def remove(self, name: str) -> None:
        """As PictureFiles."""
        (self._directory / name).unlink(missing_ok=True)

    def path_of(self, stored: StoredImage) -> Path:
        """The file it lies in."""
        return self._directory / stored.file_name
