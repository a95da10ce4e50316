"""Where state is kept: the database, and blobs in folders or a bucket, with the encryption over both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sdxl_gateway.accounts.pepper import pepper_of
from sdxl_gateway.config import Settings
from sdxl_gateway.s3.open import open_places
from sdxl_gateway.storage.blobs import BlobFolder, Blobs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.open_seal import open_seal
from sdxl_gateway.storage.places import Places
from sdxl_gateway.storage.seal import Seal

if TYPE_CHECKING:
    from sdxl_gateway.s3.bucket import Bucket


@dataclass(frozen=True, slots=True)
class Persistence:
    """Everything is below `home`, except what is in a bucket."""

    settings: Settings
    home: Path
    database: Database
    seal: Seal
    places: Places

    @classmethod
    def open(cls, settings: Settings, home: Path, bucket: Bucket | None) -> Self:
        """The database is not opened yet."""
        seal = open_seal(settings.encryption.secrets, settings.data_directory)
        return cls(settings, home, Database(home), seal, open_places(bucket, home, settings.s3))

    def blobs(self, kind: str) -> Blobs:
        """Encrypted; in a bucket if there is one, which several gateways may share."""
        return self.seal.over(self.places.blobs(kind))

    def own_blobs(self, folder: Path) -> Blobs:
        """Encrypted, on this machine's disk."""
        return self.seal.over(BlobFolder(folder))

    def pepper(self) -> bytes:
        """The secret that keys are hashed with; generated if none is configured."""
        return pepper_of(self.settings.auth.pepper, self.home)
