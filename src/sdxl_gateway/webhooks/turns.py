"""Limits concurrent deliveries, so that receivers that do not answer leave room for others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sdxl_gateway.core.webhook import Delivery

AT_ONCE = 32
AT_ONCE_PER_TENANT = 16
AT_ONCE_PER_HOST = 4


class Turns:
    """The running deliveries, by host and by tenant."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self._hosts: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()

    def copy(self) -> Turns:
        """A copy of the current state."""
        other = Turns()
        other.ids = self.ids.copy()
        other._hosts, other._tenants = self._hosts.copy(), self._tenants.copy()
        return other

    @property
    def free(self) -> bool:
        """Whether one more may be sent."""
        return len(self.ids) < AT_ONCE

    @property
    def full_hosts(self) -> Collection[str]:
        """Hosts that get no more for now."""
        return [host for host, count in self._hosts.items() if count >= AT_ONCE_PER_HOST]

    @property
    def full_tenants(self) -> Collection[str]:
        """Tenants whose deliveries have to wait for now."""
        return [tenant for tenant, count in self._tenants.items() if count >= AT_ONCE_PER_TENANT]

    def begin(self, delivery: Delivery) -> None:
        """Note that it is being sent."""
        self.ids.add(delivery.id)
        self._hosts[delivery.host] += 1
        self._tenants[delivery.tenant] += 1

    def end(self, delivery: Delivery) -> None:
        """Note that it is no longer being sent."""
        self.ids.discard(delivery.id)
        self._hosts -= Counter([delivery.host])
        self._tenants -= Counter([delivery.tenant])
