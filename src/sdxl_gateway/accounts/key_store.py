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
"""Between two looks at what other processes changed, such as one that revokes a key."""
GRACE_SECONDS = 24 * 3600.0
"""How long an old key lives beside the one it was rotated to."""


Exchange = Callable[[Sequence[Key]], Awaitable[Sequence[Key]]]
"""Tells others of these keys, and gives those of which they know what is not here yet."""


async def alone(_: Sequence[Key]) -> Sequence[Key]:
    """The exchange of a gateway that shares with nobody."""
    return ()


class KeyStore:
    """The keys of one database, under the secret that `find_pepper` gives, and those that `exchange` brings into it.

    `load` once before it is asked, then `following` keeps it up to date."""

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
        """No key was ever made that has not been revoked; those that expired count: they were meant to guard."""
        return all(key.revoked is not None for key in self._keys.values())

    def holder(self, text: bytes) -> Key | None:
        """The live key that this is."""
        found = self._keys.get(digest_of(text, self._pepper))
        return found if found is not None and found.lives(self._clock()) else None

    async def load(self) -> None:
        """Takes over what stands in the database now, and what others know; what is here holds at once."""
        ours = await self._database.run(key_table.all_keys)
        self._take(ours)
        if others := await self._exchange(ours):
            await self._database.run(partial(key_table.adopt, keys=others))
            self._take(await self._database.run(key_table.all_keys))

    def load_now(self) -> None:
        """As `load`, where there is no event loop yet."""
        self._take(self._database.submit(key_table.all_keys).result())

    def _take(self, keys: Iterable[Key]) -> None:
        self._keys = {key.digest: key for key in keys}

    async def following(self) -> None:
        """Loads again and again, until it is cancelled."""
        while True:
            await self.load()
            await asyncio.sleep(LOOK_SECONDS)

    def list(self) -> list[Key]:
        """Every key there was, the oldest first."""
        return sorted(self._keys.values(), key=lambda key: (key.created, key.id))

    def find(self, key_id: str) -> Key:
        """Raises NotFound."""
        found = next((key for key in self._keys.values() if key.id == key_id), None)
        if found is None:
            raise _unknown(key_id)
        return found

    async def exported(self, tenant: str) -> AsyncIterator[dict[str, Any]]:
        """What is remembered of each of the tenant's keys."""
        for key in self.list():
            if key.grant.tenant == tenant:
                yield key.plain

    async def create(self, grant: KeyGrant) -> tuple[str, Key]:
        """The key, which nobody can tell again, and what is remembered of it."""
        text, key = minted(grant, self._pepper, self._clock())
        await self._database.run(partial(key_table.insert, key=key))
        await self.load()
        return text, key

    async def rotate(self, key_id: str, grace_seconds: float = GRACE_SECONDS) -> tuple[str, Key]:
        """A key good for the same; the old one lives `grace_seconds` longer at most.

        Raises NotFound, InvalidRequest for a key that is dead or was rotated already.
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
        """The key, which is good for what `change` makes of its grant from now on; its tenant and roles stay.

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
        """The key, which opens nothing any more. Raises NotFound."""
        found = await self._database.run(partial(key_table.revoke, key_id=key_id, now=self._clock()))
        await self.load()
        if found is None:
            raise _unknown(key_id)
        return found


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"There is no key {shown(key_id)}.", code="key_not_found")
