"""Takes who was served how much; gives each tenant's place, least served first, so that none can crowd out another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Share:
    """Work given, on top of the level the tenant joined at, and the number of its last charge among all."""

    served: float
    turn: int = 0


class FairShares:
    """Work given to each tenant; one that comes back joins at the level of those present, owed nothing.

    The level is what the least served of those present was given. Whoever was given more and leaves is remembered until
    the level is there, so that asking anew after each answer makes nobody new. Of tenants equally served the one whose
    turn is longest ago is next, for else such a tenant would wait for those that always ask each time.
    After Goyal, Vin and Cheng's start-time fair queueing.
    """

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}
        self._level = 0.0
        self._turn = 0

    def present(self, tenants: Iterable[str]) -> None:
        """These tenants, and no others, want something now."""
        wanting = set(tenants)
        known = (share.served for tenant, share in self._shares.items() if tenant in wanting)
        self._level = max(self._level, min(known, default=self._level))
        self._shares = {t: s for t, s in self._shares.items() if t in wanting or s.served > self._level}
        for tenant in wanting:
            share = self._of(tenant)
            share.served = max(share.served, self._level)

    def charge(self, tenant: str, work: float, weight: float = 1.0) -> None:
        """The tenant is given that much work, which counts less the more it weighs."""
        self._turn += 1
        share = self._of(tenant)
        share.served, share.turn = share.served + work / weight, self._turn

    def refund(self, tenant: str, work: float, weight: float = 1.0) -> None:
        """What was charged was not given after all."""
        self._of(tenant).served -= work / weight

    def served(self, tenant: str) -> float:
        """Work given so far, on top of the level the tenant joined at."""
        return self._shares[tenant].served if tenant in self._shares else 0.0

    def turn(self, tenant: str) -> int:
        """The number of its last charge among all; 0 for a tenant that just joined."""
        return self._shares[tenant].turn if tenant in self._shares else 0

    def _of(self, tenant: str) -> _Share:
        return self._shares.setdefault(tenant, _Share(self._level))
