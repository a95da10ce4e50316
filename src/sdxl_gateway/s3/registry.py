"""Takes files and their names, keeps both in a bucket; what lies there can be told without reading any of it."""

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

    Of two of these the latest counts. An object is rewritten at every change, so that one small read tells whether
    there was any. Everything blocks, and raises Unavailable.
    """

    unnamed_seconds = 3600.0
    """A file that no name leads to may be one whose name is yet to come, but not for so long."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self.bucket = bucket
        self.folder = folder
        self._files, self._names, self._changed = (f"{folder}/{part}" for part in ("files", "names", "changed"))
        self._name_key = re.compile(rf"{self._names}/([^/]+)/({DIGEST.pattern})")

    def file_key(self, digest: str) -> str:
        """Where the file of that sha256 lies."""
        return f"{self._files}/{digest}"

    def stamp(self) -> bytes:
        """Another one after each change."""
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
        """The file is what the name means from now on; its sha256."""
        digest = sha256_of(content)
        self.bucket.put(self.file_key(digest), content)
        before = [entry.key for entry in self.bucket.entries(self._folder(name))]
        self.bucket.put(f"{self._folder(name)}/{digest}", b"")
        self.bucket.delete(*(key for key in before if not key.endswith(digest)))
        self._change()
        return digest

    def withdraw(self, name: str) -> None:
        """The name means nothing any more; its file goes with a later sweep, unless another name leads to it."""
        self.bucket.delete(*(entry.key for entry in self.bucket.entries(self._folder(name))))
        self._change()

    def sweep(self, now: float) -> int:
        """Deletes the files that no name leads to, nor is about to; how many that were."""
        needed = self.needed(frozenset(self.names().values()))
        lost = [
            entry.key
            for entry in self.files()
            if digest_in(entry) not in needed and now - entry.changed > self.unnamed_seconds
        ]
        self.bucket.delete(*lost)
        return len(lost)

    def files(self) -> Iterable[Entry]:
        """All there are, whether a name leads to them or not."""
        return self.bucket.entries(self._files)

    def needed(self, named: frozenset[str]) -> frozenset[str]:
        """The digests of all files that are to stay where names lead to these."""
        return named

    def _change(self) -> None:
        self.bucket.put(self._changed, secrets.token_hex(16).encode())

    def _folder(self, name: str) -> str:
        """One part of a key, of characters that no store and no library spells otherwise."""
        return f"{self._names}/{quote(name, safe='').replace('%', '=')}"


def sha256_of(content: Path | bytes) -> str:
    """In hex; of a file where a path is given."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_in(entry: Entry) -> str:
    """The last part of its key."""
    return entry.key.rpartition("/")[2]


def _age(entry: Entry) -> tuple[float, str]:
    """The same one is the latest for whoever asks."""
    return entry.changed, entry.key
