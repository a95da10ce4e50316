"""Fair shares: the tenant that was served least comes first, so that none can crowd out another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Share:
    """The work given to a tenant, on top of the level it joined at, and the number of its last charge."""

    served: float
    turn: int = 0


class FairShares:
    """The work given to each tenant; one that returns joins at the level of those present, with no claim to the past.

    The level is the work of the least served tenant present. A tenant that leaves with more is remembered until the
    level has reached that, so that leaving and returning after each answer gains nothing. Of equally served tenants the
    one with the longest ago turn is next; otherwise it would wait for those that always ask.
    After the start-time fair queueing of Goyal, Vin and Cheng.
    """

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}
        self._level = 0.0
        self._turn = 0

    def present(self, tenants: Iterable[str]) -> None:
        """Note that these tenants, and no others, have work now."""
        wanting = set(tenants)
        known = (share.served for tenant, share in self._shares.items() if tenant in wanting)
        self._level = max(self._level, min(known, default=self._level))
        self._shares = {t: s for t, s in self._shares.items() if t in wanting or s.served > self._level}
        for tenant in wanting:
            share = self._of(tenant)
            share.served = max(share.served, self._level)

    def charge(self, tenant: str, work: float, weight: float = 1.0) -> None:
        """Count so much work for the tenant, divided by its weight."""
        self._turn += 1
        share = self._of(tenant)
        share.served, share.turn = share.served + work / weight, self._turn

    def refund(self, tenant: str, work: float, weight: float = 1.0) -> None:
        """Undo a charge of work that was not done."""
        self._of(tenant).served -= work / weight

    def served(self, tenant: str) -> float:
        """The work given so far, on top of the level the tenant joined at."""
        return self._shares[tenant].served if tenant in self._shares else 0.0

    def turn(self, tenant: str) -> int:
        """The number of its last charge among all; 0 for a tenant that just joined."""
        return self._shares[tenant].turn if tenant in self._shares else 0

    def _of(self, tenant: str) -> _Share:
        return self._shares.setdefault(tenant, _Share(self._level))
