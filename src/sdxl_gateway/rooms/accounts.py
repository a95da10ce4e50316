"""Who may call this server, and how much they may use of it: keys, limits, usage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.limits import Limits
from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.config import Settings
from sdxl_gateway.gateway.fleet.usage import FleetUsage
from sdxl_gateway.rooms.fleet import Fleet
from sdxl_gateway.rooms.persistence import Persistence


@dataclass(frozen=True, slots=True)
class Accounts:
    """Keys, limits and usage, of this gateway or of the whole fleet."""

    usage: Usage
    limits: Limits
    keys: KeyStore

    @classmethod
    def open(cls, settings: Settings, persistence: Persistence, fleet: Fleet) -> Self:
        """The keys are not loaded yet."""
        database = persistence.database
        usage = Usage(database) if fleet.questions is None else FleetUsage(database, fleet.questions)
        keys = KeyStore(database, persistence.pepper, exchange=fleet.shared.keys)
        return cls(usage, Limits(settings, fleet.shared.meters, usage), keys)

    def with_settings(self, settings: Settings) -> Accounts:
        """The same with the limits of other settings."""
        return replace(self, limits=self.limits.with_settings(settings))
