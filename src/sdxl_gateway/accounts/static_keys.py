"""Takes the keys of the configuration, tells who holds one of them; digests are compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

from sdxl_gateway.config import Auth
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Unauthenticated


class StaticKeys:
    """A core Authenticator. Without API keys everyone may come in; with admin keys alone only admins are told apart."""

    def __init__(self, auth: Auth) -> None:
        self._api = _digests(key.get_secret_value() for key in auth.api_keys)
        self._admin = _digests(key.get_secret_value() for key in auth.admin_keys)

    async def authenticate(self, keys: Sequence[bytes]) -> Caller:
        """Who asks. Raises Unauthenticated without a key, or with a wrong one, where one is needed."""
        offered = [hashlib.sha256(key).digest() for key in keys]
        for digest in offered:
            if _among(digest, self._admin):
                return Caller(_tenant(digest), admin=True)
        for digest in offered:
            if _among(digest, self._api):
                return Caller(_tenant(digest))
        if not self._api:
            return Caller()
        if offered:
            raise Unauthenticated("Incorrect API key provided.")
        raise Unauthenticated("You didn't provide an API key; send it as 'Authorization: Bearer KEY'.")


def _digests(keys: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def _among(digest: bytes, known: tuple[bytes, ...]) -> bool:
    """Looks at every known key, found or not."""
    return sum(hmac.compare_digest(digest, one) for one in known) > 0


def _tenant(digest: bytes) -> str:
    return "key-" + digest.hex()[:12]
