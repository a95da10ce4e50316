"""A key of the key store: its record, how a new one is made, and the digest that is stored in its place."""

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
    """The rights of a key; `expires` is unix seconds, None for a key without an end.

    `safety` is the policy for what judges find, None for the server's own. `webhook_url` receives the ends of its jobs,
    unless a request names another receiver.
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
    """The record of a key, without its text. Times are unix seconds; `successor` is the id that it was rotated to.

    `changed` is the time of the last change of anything in it.
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
        """Whether the key is valid."""
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
        """The caller who shows it."""
        grant = self.grant
        rights = grant.roles, self.id, grant.models, grant.loras, grant.priority, grant.limits, grant.safety
        return Caller(grant.tenant, *rights, webhook_url=grant.webhook_url)


def minted(grant: KeyGrant, pepper: bytes, now: float) -> tuple[str, Key]:
    """A new key: its text, to be shown once, and its record."""
    secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    text = secret + f"{zlib.crc32(secret.encode()):08x}"
    key = Key("key_" + secrets.token_hex(8), digest_of(text.encode(), pepper), text[:SHOWN], grant, now, changed=now)
    return text, key


def rotated(old: Key, pepper: bytes, now: float, grace_seconds: float) -> tuple[str, Key, Key]:
    """A new key with the same grant: its text, its record, and the old one's, which ends after the grace."""
    text, new = minted(old.grant, pepper, now)
    last = now + grace_seconds
    ends = last if old.grant.expires is None else min(last, old.grant.expires)
    return text, new, replace(old, grant=replace(old.grant, expires=ends), successor=new.id, changed=now)


def merged(one: Key, other: Key) -> Key:
    """Two gateways' records of the same key, merged: the later grant counts, `one`'s if both are of the same time.

    What was revoked or rotated stays so, whatever was changed afterwards.
    """
    last = other if other.changed > one.changed else one
    ends = [key.revoked for key in (one, other) if key.revoked is not None]
    return replace(last, revoked=min(ends, default=None), successor=last.successor or one.successor or other.successor)


def well_formed(text: bytes) -> bool:
    """Whether a text has the form of a key, including its checksum; it need not exist."""
    return text.startswith(PREFIX.encode()) and text[-8:] == f"{zlib.crc32(text[:-8]):08x}".encode()


def digest_of(text: bytes, pepper: bytes) -> bytes:
    """What is stored and compared in place of a key: its HMAC-SHA256 under the server's secret."""
    return hmac.new(pepper, text, hashlib.sha256).digest()
