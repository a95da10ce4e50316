"""Takes grants, gives keys, and tells who holds one: from memory, which is never older than two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from sdxl_gateway.accounts import key_table
from sdxl_gateway.accounts.keys import Key, KeyGrant, digest_of, minted, rotated
from sdxl_gateway.core.errors import InvalidRequest, NotFound
from sdxl_gateway.core.text import shown
from sdxl_gateway.storage.database import Database

LOOK_SECONDS = 2.0
"""How often changes by other processes, such as the CLI, are looked for."""
GRACE_SECONDS = 24 * 3600.0
"""How long a rotated key stays valid beside its successor."""


Exchange = Callable[[Sequence[Key]], Awaitable[Sequence[Key]]]
"""Shares these keys with other gateways; the keys of which these know something newer."""


async def alone(_: Sequence[Key]) -> Sequence[Key]:
    """The exchange of a gateway that shares nothing."""
    return ()


class KeyStore:
    """Keys in the database, hashed with the secret of `find_pepper`, and those that `exchange` brings into it.

    `load` has to be called first; `following` keeps it up to date."""

    def __init__(
        self,
        database: Database,
        find_pepper: Callable[[], bytes],
        clock: Callable[[], float] = time.time,
        exchange: Exchange = alone,
    ) -> None:
        self._database = database
        self._find_pepper = find_pepper
        self._clock = clock
        self._exchange = exchange
        self._keys: Mapping[bytes, Key] = {}

    @cached_property
    def _pepper(self) -> bytes:
        return self._find_pepper()

    @property
    def empty(self) -> bool:
        """Whether there is no key but revoked ones; expired ones count, for they were meant to guard the server."""
        return all(key.revoked is not None for key in self._keys.values())

    def holder(self, text: bytes) -> Key | None:
        """The valid key of that text."""
        found = self._keys.get(digest_of(text, self._pepper))
        return found if found is not None and found.lives(self._clock()) else None

    async def load(self) -> None:
        """Read the database, and then take in what other gateways know."""
        ours = await self._database.run(key_table.all_keys)
        self._take(ours)
        if others := await self._exchange(ours):
            await self._database.run(partial(key_table.adopt, keys=others))
            self._take(await self._database.run(key_table.all_keys))

    def load_now(self) -> None:
        """As `load`, from the database alone, for callers without an event loop."""
        self._take(self._database.submit(key_table.all_keys).result())

    def _take(self, keys: Iterable[Key]) -> None:
        self._keys = {key.digest: key for key in keys}

    async def following(self) -> None:
        """Load at intervals, until this is cancelled."""
        while True:
            await self.load()
            await asyncio.sleep(LOOK_SECONDS)

    def list(self) -> list[Key]:
        """Every key, revoked and expired ones too, the oldest first."""
        return sorted(self._keys.values(), key=lambda key: (key.created, key.id))

    def find(self, key_id: str) -> Key:
        """Raises NotFound."""
        found = next((key for key in self._keys.values() if key.id == key_id), None)
        if found is None:
            raise _unknown(key_id)
        return found

    async def exported(self, tenant: str) -> AsyncIterator[dict[str, Any]]:
        """The tenant's keys, without their digests."""
        for key in self.list():
            if key.grant.tenant == tenant:
                yield key.plain

    async def create(self, grant: KeyGrant) -> tuple[str, Key]:
        """Make a key; its text, which is not stored, and the key."""
        text, key = minted(grant, self._pepper, self._clock())
        await self._database.run(partial(key_table.insert, key=key))
        await self.load()
        return text, key

    async def rotate(self, key_id: str, grace_seconds: float = GRACE_SECONDS) -> tuple[str, Key]:
        """Make a successor of the key with the same grant; the old one is valid for `grace_seconds` longer at most.

        Raises NotFound, InvalidRequest for a key that is not valid any more, or was rotated before.
        """
        await self.load()
        old = self.find(key_id)
        if not old.lives(self._clock()) or old.successor is not None:
            raise InvalidRequest(f"The key {shown(key_id)} was revoked, has expired or was rotated before.")
        text, new, ending = rotated(old, self._pepper, self._clock(), grace_seconds)
        await self._database.run(partial(key_table.succeed, new=new, old=ending))
        await self.load()
        return text, new

    async def update(self, key_id: str, change: Callable[[KeyGrant], KeyGrant]) -> Key:
        """Change the key's grant by `change`; its tenant and roles stay.

        Raises NotFound, InvalidRequest for a key that was revoked or rotated.
        """

        def changed(key: Key) -> KeyGrant:
            if key.revoked is not None or key.successor is not None:
                raise InvalidRequest(f"The key {shown(key_id)} was revoked or rotated.")
            return change(key.grant)

        found = await self._database.run(partial(key_table.change, key_id=key_id, how=changed, now=self._clock()))
        await self.load()
        if found is None:
            raise _unknown(key_id)
        return found

    async def revoke(self, key_id: str) -> Key:
        """Revoke the key. Raises NotFound."""
        found = await self._database.run(partial(key_table.revoke, key_id=key_id, now=self._clock()))
        await self.load()
        if found is None:
            raise _unknown(key_id)
        return found


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"There is no key {shown(key_id)}.", code="key_not_found")
