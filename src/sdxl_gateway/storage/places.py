"""Where a server stores blobs and pictures: by default in its data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sdxl_gateway.core.ports import Addresses
from sdxl_gateway.storage.blobs import BlobFolder, Blobs
from sdxl_gateway.storage.objects import Objects
from sdxl_gateway.storage.picture_folder import PictureFiles, PictureFolder


class Places(Protocol):
    """A store of blobs for each `kind`, and one of pictures."""

    def blobs(self, kind: str) -> Blobs:
        """The blobs of that kind; the same ones after each start of the server."""

    def pictures(self) -> PictureFiles:
        """The store of pictures."""

    def shared(self, kind: str) -> Objects | None:
        """What all servers of a fleet share, if there is a place that all of them reach."""

    def addresses(self, own: Addresses) -> Addresses:
        """The addresses at which clients fetch pictures; `own` are the server's own."""


class DataDirectory:
    """Folders below `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def blobs(self, kind: str) -> Blobs:
        """As Places: a folder of that name."""
        return BlobFolder(self._home / "blobs" / kind)

    def pictures(self) -> PictureFiles:
        """As Places: the folder `images`."""
        return PictureFolder(self._home / "images")

    def shared(self, kind: str) -> None:
        """As Places: none, for no other server reads this disk."""

    def addresses(self, own: Addresses) -> Addresses:
        """As Places: the server's own."""
        return own
