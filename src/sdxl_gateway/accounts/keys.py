"""A key of the key store: what is remembered of it, how a new one is made, and what is kept instead of it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass, replace
from typing import Any

from sdxl_gateway.core.allowance import NO_LIMITS, Allowance
from sdxl_gateway.core.caller import EVERYTHING, Caller, Role
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.safety import Policy

PREFIX = "sk-sdxl-"
RANDOM_BYTES = 32
SHOWN = len(PREFIX) + 6


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What a key is to be good for; `expires` is unix seconds, None for a key without an end.

    `safety` is what a judge's finding means for it, None for what the server says.
    `webhook_url` is told of what becomes of its jobs, where a request names no other.
    """

    tenant: str
    name: str = ""
    roles: frozenset[Role] = frozenset({Role.GENERATE})
    models: tuple[str, ...] = EVERYTHING
    loras: tuple[str, ...] = EVERYTHING
    priority: Priority = Priority.NORMAL
    expires: float | None = None
    limits: Allowance = NO_LIMITS
    safety: Policy | None = None
    webhook_url: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is remembered: never itself. Times are unix seconds; `successor` is the id it was rotated to.

    `changed` is when anything of it was last.
    """

    id: str
    digest: bytes
    prefix: str
    grant: KeyGrant
    created: float
    revoked: float | None = None
    successor: str | None = None
    changed: float = 0.0

    def lives(self, now: float) -> bool:
        """It opens something."""
        return self.revoked is None and (self.grant.expires is None or now < self.grant.expires)

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON values, without its digest."""
        grant = self.grant
        return {
            "id": self.id,
            "prefix": self.prefix,
            "name": grant.name,
            "roles": sorted(grant.roles),
            "models": list(grant.models),
            "loras": list(grant.loras),
            "priority": grant.priority.word,
            "created": self.created,
            "expires": grant.expires,
            "revoked": self.revoked,
        }

    @property
    def caller(self) -> Caller:
        """Who holds it."""
        grant = self.grant
        rights = grant.roles, self.id, grant.models, grant.loras, grant.priority, grant.limits, grant.safety
        return Caller(grant.tenant, *rights, webhook_url=grant.webhook_url)


def minted(grant: KeyGrant, pepper: bytes, now: float) -> tuple[str, Key]:
    """A new key, to be shown once, and what is to be remembered of it."""
    secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    text = secret + f"{zlib.crc32(secret.encode()):08x}"
    key = Key("key_" + secrets.token_hex(8), digest_of(text.encode(), pepper), text[:SHOWN], grant, now, changed=now)
    return text, key


def rotated(old: Key, pepper: bytes, now: float, grace_seconds: float) -> tuple[str, Key, Key]:
    """A new key good for the same, what is remembered of it, and the old one, which lives a while beside it."""
    text, new = minted(old.grant, pepper, now)
    last = now + grace_seconds
    ends = last if old.grant.expires is None else min(last, old.grant.expires)
    return text, new, replace(old, grant=replace(old.grant, expires=ends), successor=new.id, changed=now)


def merged(one: Key, other: Key) -> Key:
    """What two know of the same key, together: the grant as it was changed last, `one`'s where neither was later.

    What was revoked or rotated stays so, whatever was changed after it.
    """
    last = other if other.changed > one.changed else one
    ends = [key.revoked for key in (one, other) if key.revoked is not None]
    return replace(last, revoked=min(ends, default=None), successor=last.successor or one.successor or other.successor)


def well_formed(text: bytes) -> bool:
    """It is a key of this kind, from its first letters to its checksum; whether anybody has it is another question."""
    return text.startswith(PREFIX.encode()) and text[-8:] == f"{zlib.crc32(text[:-8]):08x}".encode()


def digest_of(text: bytes, pepper: bytes) -> bytes:
    """What is compared and kept instead of a key: HMAC-SHA256 under the server's own secret."""
    return hmac.new(pepper, text, hashlib.sha256).digest()
