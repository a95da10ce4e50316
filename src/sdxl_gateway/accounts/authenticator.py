"""Takes the keys that a request offers, tells who asks: by the keys of the configuration and those of the key store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.keys import well_formed
from sdxl_gateway.accounts.static_keys import StaticKeys
from sdxl_gateway.config import Settings
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import StartProblem, Unauthenticated, Unavailable


class AnonymousInPublic(StartProblem):
    """Other machines could use the server without a key, and the settings do not say that this is meant."""


class KnownKeys:
    """A core Authenticator. As long as no key exists, everybody is let in, unless the server is `guarded`.

    While `unsure()` holds, other gateways may have made keys that are not known here yet.
    """

    def __init__(
        self,
        static: StaticKeys,
        store: KeyStore | None = None,
        *,
        guarded: bool = False,
        unsure: Callable[[], bool] = lambda: False,
    ) -> None:
        self._static = static
        self._store = store
        self._guarded = guarded
        self._unsure = unsure

    @property
    def open_to_all(self) -> bool:
        """Whether everybody is let in without a key."""
        return not self._guarded and self._static.open_to_all and (self._store is None or self._store.empty)

    async def authenticate(self, keys: Sequence[bytes]) -> Caller:
        """Who asks; of several keys an admin's counts. Raises Unauthenticated, and Unavailable for a key that may be
        another gateway's."""
        known = [caller for key in keys if (caller := self._holder(key)) is not None]
        if known:
            return next((caller for caller in known if caller.admin), known[0])
        if self.open_to_all:
            return Caller()
        if self._unsure() and any(map(well_formed, keys)):
            raise Unavailable("This key is not known here, and other gateways cannot be asked now; try again.")
        if keys:
            raise Unauthenticated("Incorrect API key provided.")
        raise Unauthenticated("You didn't provide an API key; send it as 'Authorization: Bearer KEY'.")

    def _holder(self, key: bytes) -> Caller | None:
        found = self._static.holder(key)
        if found is None and self._store is not None and (kept := self._store.holder(key)) is not None:
            return kept.caller
        return found


def refuse_anonymous(settings: Settings, known: KnownKeys) -> None:
    """Raises AnonymousInPublic where other machines reach a server that asks for no key."""
    if settings.reachable and known.open_to_all and not settings.auth.allow_anonymous:
        raise AnonymousInPublic(
            f"server.host is {settings.server.host}, so that other machines reach this server, and it has no key. Make "
            "one with `sdxl-gateway keys create --tenant NAME`, set SDXL_GATEWAY__AUTH__API_KEYS, or take "
            "127.0.0.1 as server.host; auth.allow_anonymous = true lets everybody in."
        )
