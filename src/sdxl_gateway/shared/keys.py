"""Exchanges API keys among gateways: reports those that this one knows, and returns what others know of theirs."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from pydantic import TypeAdapter

from sdxl_gateway.accounts.keys import Key, KeyGrant, merged
from sdxl_gateway.shared.link import Link, SharedStateDown

log = logging.getLogger(__name__)

KEPT_SECONDS = 7 * 86400
"""Keys that nobody changed for so long leave Redis, and are then reported by all gateways again."""
MAC_LETTERS = 64
_GRANT = TypeAdapter(KeyGrant)


class KeyExchange:
    """One hash of all keys by id, and beside it a random word that is replaced at each change.

    Every gateway has all keys in its own database, and the hash only distributes them: it may be lost, and contains no
    secret. Its values are signed with the pepper, without which nobody can make a key.
    """

    def __init__(self, link: Link, pepper: bytes) -> None:
        self._link = link
        self._pepper = pepper
        self._word: bytes | None = None
        self._told: list[Key] = []

    async def __call__(self, ours: Sequence[Key]) -> Sequence[Key]:
        """The keys of which others know more than `ours`; none while Redis is down."""
        try:
            return await self._exchanged(ours)
        except SharedStateDown:
            return ()

    async def _exchanged(self, ours: Sequence[Key]) -> Sequence[Key]:
        word = await self._link.ask(self._last_word)
        if word is not None and word == self._word and list(ours) == self._told:
            return ()
        theirs = self._read(await self._link.ask(self._found))
        known = {key.id: key for key in ours}
        new = [key for key in known.values() if key.id not in theirs or merged(theirs[key.id], key) != theirs[key.id]]
        await self._tell(new, theirs)
        # What another gateway writes between this one's reading and writing is read the next time.
        self._word, self._told = None if new else word, list(ours)
        together = [merged(known.get(key.id, key), key) for key in theirs.values()]
        return [key for key in together if key != known.get(key.id)]

    async def _tell(self, new: Sequence[Key], theirs: Mapping[str, Key]) -> None:
        if new:
            told = {key.id: self._signed(merged(theirs.get(key.id, key), key)) for key in new}
            await self._link.ask(partial(self._write, told))

    async def _last_word(self) -> bytes | None:
        return cast("bytes | None", await self._link.redis.get(self._name("word")))

    async def _found(self) -> dict[bytes, bytes]:
        return cast(dict[bytes, bytes], await self._link.redis.hgetall(self._name("all")))

    async def _write(self, told: Mapping[str, bytes]) -> None:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            for key_id, signed in told.items():
                pipeline.hset(self._name("all"), key_id, signed)
            pipeline.expire(self._name("all"), KEPT_SECONDS)
            pipeline.set(self._name("word"), secrets.token_hex(8), ex=KEPT_SECONDS)
            await pipeline.execute()

    def _name(self, what: str) -> str:
        return self._link.key("keys", what)

    def _signed(self, key: Key) -> bytes:
        written = packed(key)
        return self._mac(written) + written

    def _read(self, found: Mapping[bytes, bytes]) -> dict[str, Key]:
        signed = [(value[:MAC_LETTERS], value[MAC_LETTERS:]) for value in found.values()]
        right = [written for mac, written in signed if hmac.compare_digest(mac, self._mac(written))]
        if len(right) < len(signed):
            log.error("redis: %d keys are of another auth.pepper, and are left alone", len(signed) - len(right))
        return {key.id: key for key in map(unpacked, right)}

    def _mac(self, written: bytes) -> bytes:
        return hmac.new(self._pepper, b"a key of the gateways\0" + written, hashlib.sha256).hexdigest().encode()


def packed(key: Key) -> bytes:
    """The key as JSON, with its digest."""
    head = [key.id, key.digest.hex(), key.prefix, key.created, key.revoked, key.successor, key.changed]
    return json.dumps([head, _GRANT.dump_python(key.grant, mode="json")]).encode()


def unpacked(written: bytes) -> Key:
    """The key that was given to `packed`."""
    (key_id, digest, prefix, created, revoked, successor, changed), grant = json.loads(written)
    ends = revoked, successor, changed
    return Key(key_id, bytes.fromhex(digest), prefix, _GRANT.validate_python(grant, strict=False), created, *ends)
