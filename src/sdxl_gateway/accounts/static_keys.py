"""Takes the keys of the configuration, tells who holds one of them; digests are compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from sdxl_gateway.config import Auth
from sdxl_gateway.core.caller import Caller, Role


class StaticKeys:
    """Each key is a tenant of its own; nothing is kept from it."""

    def __init__(self, auth: Auth) -> None:
        self._api = _digests(key.get_secret_value() for key in auth.api_keys)
        self._admin = _digests(key.get_secret_value() for key in auth.admin_keys)

    @property
    def open_to_all(self) -> bool:
        """No key is asked for, as far as the configuration goes; with admin keys alone only admins are told apart."""
        return not self._api

    def holder(self, key: bytes) -> Caller | None:
        """Who holds this key."""
        digest = hashlib.sha256(key).digest()
        if _among(digest, self._admin):
            return Caller(_tenant(digest), frozenset({Role.ADMIN}))
        return Caller(_tenant(digest)) if _among(digest, self._api) else None


def _digests(keys: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def _among(digest: bytes, known: tuple[bytes, ...]) -> bool:
    """Looks at every known key, found or not."""
    return sum(hmac.compare_digest(digest, one) for one in known) > 0


def _tenant(digest: bytes) -> str:
    return "key-" + digest.hex()[:12]
