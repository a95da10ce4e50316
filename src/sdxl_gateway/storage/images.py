"""Takes encoded pictures, gives each an unguessable id, and keeps them on disk until their time is over."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from sdxl_gateway.core.errors import Gone, NotFound
from sdxl_gateway.core.files import INCOMING_SUFFIX, write_whole
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.storage.directory import usable

ID_BYTES = 16
REMEMBERED_EXPIRED = 10_000
_NAME = re.compile(r"([0-9a-f]{32})\.([0-9]{1,12})\.(png|jpeg|webp)")


class ImageFolder:
    """A core ImageStore in one folder: files named `<id>.<expiry>.<ext>`, indexed anew from their names at the start.

    `put`, `read` and `sweep` touch the disk: call them from a thread. `cap_bytes` 0 means no cap.
    """

    def __init__(
        self, directory: Path, *, keep_seconds: float, cap_bytes: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self.limit(keep_seconds=keep_seconds, cap_bytes=cap_bytes)
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, StoredImage] = OrderedDict()
        self._expired: OrderedDict[str, None] = OrderedDict()
        self._total_bytes = 0
        self._rebuild()

    def limit(self, *, keep_seconds: float, cap_bytes: int) -> None:
        """How long pictures put here from now on are kept, and how much all of them may take from the next on."""
        self._keep_seconds = keep_seconds
        self._cap_bytes = cap_bytes

    def put(self, data: bytes, ext: str) -> StoredImage:
        """Keep these bytes ("png", "jpeg" or "webp"); the file appears whole or not at all."""
        expires_at = int(self._clock() + self._keep_seconds)
        image_id = secrets.token_hex(ID_BYTES)
        stored = StoredImage(image_id, ext, expires_at, len(data))
        path = self.path_of(stored)
        if not _NAME.fullmatch(path.name):
            raise ValueError(f"no picture is kept as {ext!r}")
        write_whole(path, [data])
        with self._lock:
            self._remember(stored)
        self._make_room(spare=image_id)
        return stored

    def find(self, image_id: str, ext: str) -> StoredImage:
        """The kept picture of that id. Raises NotFound for an unknown id, Gone for one whose time is over."""
        with self._lock:
            stored = self._kept.get(image_id)
            expired = image_id in self._expired
        if stored is None and not expired:
            raise NotFound("No such image.")
        if stored is None or stored.expires_at <= self._clock():
            raise Gone("This image has expired.")
        if stored.ext != ext:
            raise NotFound("No such image.")
        return stored

    def read(self, stored: StoredImage) -> bytes:
        """The picture's bytes. Raises Gone when it was swept meanwhile."""
        try:
            return self.path_of(stored).read_bytes()
        except FileNotFoundError:
            raise Gone("This image has expired.") from None

    def path_of(self, stored: StoredImage) -> Path:
        """The file it lies in."""
        return self._directory / f"{stored.id}.{stored.expires_at}.{stored.ext}"

    def remaining_seconds(self, stored: StoredImage) -> int:
        """How long the picture can still be fetched; 0 once its time is over."""
        return max(0, int(stored.expires_at - self._clock()))

    def sweep(self) -> int:
        """Delete what has expired; how many that were."""
        now = self._clock()
        with self._lock:
            over = [stored for stored in self._kept.values() if stored.expires_at <= now]
        for stored in over:
            self._forget(stored)
        return len(over)

    async def sweeping(self, every_seconds: float = 60.0) -> None:
        """Sweep now and then, for ever; cancel to stop."""
        while True:
            await asyncio.to_thread(self.sweep)
            await asyncio.sleep(every_seconds)

    @property
    def total_bytes(self) -> int:
        """What the kept pictures take together."""
        return self._total_bytes

    def __len__(self) -> int:
        return len(self._kept)

    def _rebuild(self) -> None:
        with usable(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
        found = []
        for path in self._directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                found.append(StoredImage(match[1], match[3], int(match[2]), path.stat().st_size))
            elif path.name.endswith(INCOMING_SUFFIX):
                path.unlink(missing_ok=True)
        for stored in sorted(found, key=lambda one: one.expires_at):
            self._remember(stored)
        self._make_room(spare="")

    def _remember(self, stored: StoredImage) -> None:
        self._kept[stored.id] = stored
        self._total_bytes += stored.size_bytes

    def _make_room(self, *, spare: str) -> None:
        while self._cap_bytes and self._total_bytes > self._cap_bytes:
            with self._lock:
                oldest = next((stored for stored in self._kept.values() if stored.id != spare), None)
            if oldest is None:
                return
            self._forget(oldest)

    def _forget(self, stored: StoredImage) -> None:
        with self._lock:
            if self._kept.pop(stored.id, None) is None:
                return
            self._total_bytes -= stored.size_bytes
            self._expired[stored.id] = None
            while len(self._expired) > REMEMBERED_EXPIRED:
                self._expired.popitem(last=False)
        with contextlib.suppress(OSError):
            self.path_of(stored).unlink(missing_ok=True)
