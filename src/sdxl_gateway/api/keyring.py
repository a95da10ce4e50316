"""Takes the keys of the configuration and of a request, gives the Caller; digests are compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.types import Scope

from sdxl_gateway.config import Auth
from sdxl_gateway.core.ask import Caller
from sdxl_gateway.core.errors import Unauthenticated

MAX_KEY_BYTES = 4096
_HEADERS = (b"authorization", b"api-key", b"x-api-key")


class Keyring:
    """Who may come in. Without API keys everyone may, and with admin keys alone only admins are told apart."""

    def __init__(self, auth: Auth) -> None:
        self._api = _digests(key.get_secret_value() for key in auth.api_keys)
        self._admin = _digests(key.get_secret_value() for key in auth.admin_keys)

    def caller(self, scope: Scope) -> Caller:
        """Who asks. Raises Unauthenticated without a key, or with a wrong one, where one is needed."""
        offered = [hashlib.sha256(key).digest() for key in _offered(scope)]
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


def _offered(scope: Scope) -> list[bytes]:
    """The keys of the request's headers, as bytes: a header may hold what is no text."""
    keys = []
    for name, value in scope["headers"]:
        if name not in _HEADERS:
            continue
        scheme, _, token = value.partition(b" ")
        key = value if name != b"authorization" else token if scheme.lower() == b"bearer" else b""
        if key.strip():
            keys.append(key.strip()[:MAX_KEY_BYTES])
    return keys[:4]
