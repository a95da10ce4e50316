"""Synchronizes the LoRA folder with the shared LoRAs: each is a file of its name there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.copies import IncomingCopy, store_path
from sdxl_gateway.catalog.lora_folder.upload import put_file, remove_source, upload_path
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.mirror import LIES, Mirror
from sdxl_gateway.s3.registry import LORAS, Registry

TAKEN = "Another file of that name lies in this server's LoRA folder, and the shared one is not used here."


class LoraMirror(Mirror):
    """The shared LoRAs among the files of one folder."""

    def __init__(
        self, bucket: Bucket, limits: Loras, data_directory: Path, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(Registry(bucket, LORAS), data_directory, clock)
        self._limits = limits

    def _has(self, name: str, digest: str) -> bool:
        return self._path(name).exists()

    def _path(self, name: str) -> Path:
        return upload_path(self._limits.directory, name)

    def _drop(self, name: str) -> None:
        remove_source(self._path(name))
        self.note(name, None)

    def _fetch(self, name: str, digest: str) -> None:
        """Fetch the file, verified by its sha256 before it enters the folder. Raises AdapterRefused, InvalidRequest."""
        target = self._path(name)
        if not self.is_shared(name) and target.exists():
            raise AdapterRefused(TAKEN)
        copy = store_path(self._data_directory, digest)
        if not copy.exists():
            self._copy(digest)
        put_file(self._limits.directory, copy, target, replace=True)
        self.note(name, digest)

    def _copy(self, digest: str) -> None:
        """Fetch the file into the store of copies, under its sha256."""
        with IncomingCopy(self._data_directory) as copy:
            for piece in self.registry.bucket.pieces(self.registry.file_key(digest)):
                copy.write(piece)
                if copy.size_bytes > self._limits.max_file_bytes:
                    raise AdapterRefused(f"The file is larger than {self._limits.max_file_bytes} bytes.")
            if copy.digest != digest:
                raise AdapterRefused(LIES)
            copy.keep()
