"""Stores files and their names in a bucket, so that a listing suffices to know them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote

from sdxl_gateway.core.errors import Gone
from sdxl_gateway.s3.bucket import Bucket, Entry

DIGEST = re.compile(r"[0-9a-f]{64}")
LORAS = "loras"


class Registry:
    """Files as `<folder>/files/<sha256>`; a name is an empty object `<folder>/names/<name>/<sha256>`.

    If a name has two of these, the latest counts. One object is rewritten at every change, so that a small read tells
    whether there was any. All methods block, and raise Unavailable.
    """

    unnamed_seconds = 3600.0
    """A file without a name is kept for so long, because its name may not have been written yet."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self.bucket = bucket
        self.folder = folder
        self._files, self._names, self._changed = (f"{folder}/{part}" for part in ("files", "names", "changed"))
        self._name_key = re.compile(rf"{self._names}/([^/]+)/({DIGEST.pattern})")

    def file_key(self, digest: str) -> str:
        """The key of the file with that sha256."""
        return f"{self._files}/{digest}"

    def stamp(self) -> bytes:
        """A value that differs after each change."""
        try:
            return self.bucket.read(self._changed)
        except Gone:
            return b""

    def names(self) -> dict[str, str]:
        """The sha256 of each name's file."""
        found: dict[str, Entry] = {}
        for entry in self.bucket.entries(self._names):
            if key := self._name_key.fullmatch(entry.key):
                name = unquote(key[1].replace("=", "%"))
                found[name] = max(found.get(name, entry), entry, key=_age)
        return {name: digest_in(entry) for name, entry in found.items()}

    def publish(self, name: str, content: Path | bytes) -> str:
        """Upload the file, and make the name refer to it; its sha256."""
        digest = sha256_of(content)
        self.bucket.put(self.file_key(digest), content)
        before = [entry.key for entry in self.bucket.entries(self._folder(name))]
        self.bucket.put(f"{self._folder(name)}/{digest}", b"")
        self.bucket.delete(*(key for key in before if not key.endswith(digest)))
        self._change()
        return digest

    def withdraw(self, name: str) -> None:
        """Remove the name; a later sweep removes its file, unless another name refers to it."""
        self.bucket.delete(*(entry.key for entry in self.bucket.entries(self._folder(name))))
        self._change()

    def sweep(self, now: float) -> int:
        """Delete the files that no name refers to, except recent ones; how many that were."""
        needed = self.needed(frozenset(self.names().values()))
        lost = [
            entry.key
            for entry in self.files()
            if digest_in(entry) not in needed and now - entry.changed > self.unnamed_seconds
        ]
        self.bucket.delete(*lost)
        return len(lost)

    def files(self) -> Iterable[Entry]:
        """All files, whether a name refers to them or not."""
        return self.bucket.entries(self._files)

    def needed(self, named: frozenset[str]) -> frozenset[str]:
        """The digests of all files that have to be kept, if names refer to these."""
        return named

    def _change(self) -> None:
        self.bucket.put(self._changed, secrets.token_hex(16).encode())

    def _folder(self, name: str) -> str:
        """The folder of a name, escaped to characters that no store and no library encodes differently."""
        return f"{self._names}/{quote(name, safe='').replace('%', '=')}"


def sha256_of(content: Path | bytes) -> str:
    """The sha256 in hex, of the bytes or of the file at the path."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_in(entry: Entry) -> str:
    """The sha256 in the object's key."""
    return entry.key.rpartition("/")[2]


def _age(entry: Entry) -> tuple[float, str]:
    """An order in which every server finds the same latest entry."""
    return entry.changed, entry.key
