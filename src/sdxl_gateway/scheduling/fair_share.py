"""Takes who was served how much; gives each tenant's place, least served first, so that none can crowd out another."""

from __future__ import annotations

from collections.abc import Iterable


class FairShares:
    """Work given to each tenant; one that comes back joins at the level of those present, owed nothing."""

    def __init__(self) -> None:
        self._served: dict[str, float] = {}

    def present(self, tenants: Iterable[str]) -> None:
        """These tenants, and no others, want something now."""
        wanting = set(tenants)
        level = min((served for tenant, served in self._served.items() if tenant in wanting), default=0.0)
        self._served = {tenant: max(self._served.get(tenant, level), level) for tenant in wanting}

    def charge(self, tenant: str, work: float, weight: float = 1.0) -> None:
        """The tenant is given that much work, which counts less the more it weighs."""
        self._served[tenant] = self._served.get(tenant, 0.0) + work / weight

    def served(self, tenant: str) -> float:
        """Work given so far, on top of the level the tenant joined at."""
        return self._served.get(tenant, 0.0)
