"""Where a server keeps blobs and pictures: in its data directory, where nothing else is said."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sdxl_gateway.core.ports import Addresses
from sdxl_gateway.storage.blobs import BlobFolder, Blobs
from sdxl_gateway.storage.objects import Objects
from sdxl_gateway.storage.picture_folder import PictureFiles, PictureFolder


class Places(Protocol):
    """One folder of blobs for each `kind`, and one of pictures."""

    def blobs(self, kind: str) -> Blobs:
        """The same ones each time that it is asked by the same server."""

    def pictures(self) -> PictureFiles:
        """The pictures' own."""

    def shared(self, kind: str) -> Objects | None:
        """What all servers of this place find there, where there are several."""

    def addresses(self, own: Addresses) -> Addresses:
        """Where pictures are fetched from; `own` are the server's addresses."""


class DataDirectory:
    """Places below `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def blobs(self, kind: str) -> Blobs:
        """A folder of that name."""
        return BlobFolder(self._home / "blobs" / kind)

    def pictures(self) -> PictureFiles:
        """The folder of images."""
        return PictureFolder(self._home / "images")

    def shared(self, kind: str) -> None:
        """None: no other server reads this disk."""

    def addresses(self, own: Addresses) -> Addresses:
        """The server itself gives them out."""
        return own
