"""Encrypts texts and blobs with AES-256-GCM, a mebibyte at a time; what is changed or cut does not decrypt.

A sealed thing is a header (mark, the key's id, 16 random bytes) and pieces, each with its number and whether it is the
last in its nonce, under a key made of the header for this thing alone: the STREAM construction (Hoang, Reyhanitabar,
Rogaway, Vizar, 2015).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.files import IncomingFile
from sdxl_gateway.storage.blobs import PIECE_BYTES, SPARED_SECONDS, Blobs
from sdxl_gateway.storage.seal import Seal

MARK = b"sdxlgw\x00\x01"
ID_BYTES = 4
SALT_BYTES = 16
HEADER_BYTES = len(MARK) + ID_BYTES + SALT_BYTES
TAG_BYTES = 16
PREFIX = "sealed:"


class Unreadable(EngineFault):
    """500 `unreadable`: encrypted data was changed, or its key is gone."""

    code = "unreadable"


@dataclass(frozen=True, slots=True)
class _Thing:
    """The cipher of one text or blob, under a key of its own."""

    header: bytes
    cipher: AESGCM

    @classmethod
    def under(cls, key: bytes, header: bytes) -> _Thing:
        return cls(header, AESGCM(hmac.digest(key, header, "sha256")))

    def seal(self, piece: bytes, number: int, last: bool) -> bytes:
        return self.cipher.encrypt(_nonce(number, last), piece, self.header)

    def open(self, piece: bytes, number: int, last: bool) -> bytes:
        try:
            return self.cipher.decrypt(_nonce(number, last), piece, self.header)
        except InvalidTag:
            raise Unreadable("What was kept here cannot be read any more.") from None


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


class AesSeal(Seal):
    """`keys` have 32 bytes each: the first encrypts, all decrypt. A key's id is a hash of it."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_id_of(key): key for key in keys}
        self._first = keys[0]

    @property
    def key_ids(self) -> list[str]:
        """The first one's first."""
        return [key_id.hex() for key_id in self._keys]

    def sealed(self, text: str) -> str:
        """As base64 behind `PREFIX`, with which no JSON begins."""
        thing = self.new()
        whole = thing.header + thing.seal(text.encode(), 0, last=True)
        return PREFIX + base64.b64encode(whole).decode()

    def plain(self, kept: str) -> str:
        """As Seal."""
        if not kept.startswith(PREFIX):
            return kept
        whole = base64.b64decode(kept[len(PREFIX) :])
        return self.thing(whole[:HEADER_BYTES]).open(whole[HEADER_BYTES:], 0, last=True).decode()

    def over(self, blobs: Blobs) -> Blobs:
        """As Seal."""
        return SealedBlobs(blobs, self)

    def new(self) -> _Thing:
        """A new cipher under the first key."""
        return _Thing.under(self._first, MARK + _id_of(self._first) + secrets.token_bytes(SALT_BYTES))

    def thing(self, header: bytes) -> _Thing:
        """The cipher for what begins with that header. Raises Unreadable without its key."""
        key = self._keys.get(header[len(MARK) : len(MARK) + ID_BYTES])
        if key is None or not header.startswith(MARK) or len(header) != HEADER_BYTES:
            raise Unreadable("What was kept here cannot be read without its key.")
        return _Thing.under(key, header)


class SealedBlobs(Blobs):
    """Encrypts into another store of blobs; blobs that were stored there before are read as they are."""

    def __init__(self, blobs: Blobs, seal: AesSeal) -> None:
        self.spool = blobs.spool
        self._blobs = blobs
        self._seal = seal

    def new_file(self) -> IncomingFile:
        """A file that encrypts what is written into it."""
        return _SealedFile(self.spool, self._seal.new())

    def written(self, file: IncomingFile) -> bytes:
        """As Blobs."""
        return b"".join(self._opened(_regrouped(iter([super().written(file)]))))

    def address(self, blob_id: str) -> str | None:
        """As Blobs."""
        return self._blobs.address(blob_id)

    def pieces_at(self, address: str) -> Iterator[bytes]:
        """As Blobs, and as `pieces`."""
        return self._opened(_regrouped(self._blobs.pieces_at(address)))

    def take(self, file: IncomingFile) -> str:
        """As Blobs."""
        return self._blobs.take(file)

    def pieces(self, blob_id: str) -> Iterator[bytes]:
        """As Blobs. Raises Unreadable, maybe after some pieces, which were right."""
        return self._opened(_regrouped(self._blobs.pieces(blob_id)))

    def delete(self, *blob_ids: str) -> None:
        """As Blobs."""
        self._blobs.delete(*blob_ids)

    def sweep(self, known_ids: Set[str], *, spared_seconds: float = SPARED_SECONDS) -> int:
        """As Blobs."""
        return self._blobs.sweep(known_ids, spared_seconds=spared_seconds)

    def _opened(self, raw: Iterator[bytes]) -> Iterator[bytes]:
        header = next(raw, b"")
        if not header.startswith(MARK):
            yield from (piece for piece in (header, *raw) if piece)
            return
        thing, number, before = self._seal.thing(header), 0, next(raw, b"")
        for piece in raw:
            yield thing.open(before, number, last=False)
            before, number = piece, number + 1
        yield thing.open(before, number, last=True)


class _SealedFile(IncomingFile):
    def __init__(self, folder: Path, thing: _Thing) -> None:
        super().__init__(folder)
        super().write(thing.header)
        self._thing = thing
        self._number = 0
        self._rest = bytearray()

    def write(self, chunk: bytes) -> None:
        """Full pieces are encrypted; the last one waits for the end."""
        self._rest += chunk
        while len(self._rest) > PIECE_BYTES:
            self._seal(bytes(self._rest[:PIECE_BYTES]), last=False)
            del self._rest[:PIECE_BYTES]

    def settle(self) -> None:
        """Also writes the last piece; nothing may be written after that."""
        self._seal(bytes(self._rest), last=True)
        super().settle()

    def _seal(self, piece: bytes, last: bool) -> None:
        super().write(self._thing.seal(piece, self._number, last))
        self._number += 1


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"sdxl-gateway key id" + key).digest()[:ID_BYTES]


def _regrouped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A header, then sealed pieces of their whole length, the last one shorter."""
    held, wanted = bytearray(), HEADER_BYTES
    for piece in pieces:
        held += piece
        while len(held) >= wanted:
            yield bytes(held[:wanted])
            del held[:wanted]
            wanted = PIECE_BYTES + TAG_BYTES
    if held:
        yield bytes(held)
