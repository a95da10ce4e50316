"""Takes LoRA files and their names, keeps both in a bucket; what lies there can be told without reading any of it."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from urllib.parse import quote, unquote

from sdxl_gateway.core.errors import Gone
from sdxl_gateway.s3.bucket import Bucket, Entry

FILES = "loras/files"
NAMES = "loras/names"
CHANGED = "loras/changed"
PIECE_BYTES = 2**20
UNNAMED_SECONDS = 3600.0
"""A file that no name leads to may be one whose name is yet to come, but not for so long."""
_NAME_KEY = re.compile(rf"{NAMES}/([^/]+)/([0-9a-f]{{64}})")


class LoraRegistry:
    """Files as `loras/files/<sha256>`; a name is an empty object `loras/names/<name>/<sha256>`, the latest counts.

    An object is rewritten at every change, so that one small read tells whether there was any. Everything blocks, and
    raises Unavailable.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def stamp(self) -> bytes:
        """Another one after each change."""
        try:
            return self._bucket.read(CHANGED)
        except Gone:
            return b""

    def names(self) -> dict[str, str]:
        """The sha256 of each name's file."""
        found: dict[str, Entry] = {}
        for entry in self._bucket.entries(NAMES):
            if key := _NAME_KEY.fullmatch(entry.key):
                name = unquote(key[1].replace("=", "%"))
                found[name] = max(found.get(name, entry), entry, key=_age)
        return {name: entry.key.rpartition("/")[2] for name, entry in found.items()}

    def publish(self, name: str, path: Path) -> str:
        """The file is what the name means from now on; its sha256."""
        digest = sha256_of(path)
        self._bucket.put(file_key(digest), path)
        before = [entry.key for entry in self._bucket.entries(_folder(name))]
        self._bucket.put(f"{_folder(name)}/{digest}", b"")
        self._bucket.delete(*(key for key in before if not key.endswith(digest)))
        self._change()
        return digest

    def withdraw(self, name: str) -> None:
        """The name means nothing any more; its file goes with a later sweep, unless another name leads to it."""
        self._bucket.delete(*(entry.key for entry in self._bucket.entries(_folder(name))))
        self._change()

    def sweep(self, now: float) -> int:
        """Deletes the files that no name leads to, nor is about to; how many that were."""
        digests = frozenset(self.names().values())
        lost = [
            entry.key
            for entry in self._bucket.entries(FILES)
            if entry.key.rpartition("/")[2] not in digests and now - entry.changed > UNNAMED_SECONDS
        ]
        self._bucket.delete(*lost)
        return len(lost)

    def _change(self) -> None:
        self._bucket.put(CHANGED, secrets.token_hex(16).encode())


def file_key(digest: str) -> str:
    """Where the file of that sha256 lies."""
    return f"{FILES}/{digest}"


def sha256_of(path: Path) -> str:
    """In hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(name: str) -> str:
    """One part of a key, of characters that no store and no library spells otherwise."""
    return f"{NAMES}/{quote(name, safe='').replace('%', '=')}"


def _age(entry: Entry) -> tuple[float, str]:
    """The same one is the latest for whoever asks."""
    return entry.changed, entry.key
