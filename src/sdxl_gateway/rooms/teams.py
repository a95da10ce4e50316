"""Who may ask, and for how much: keys, limits, usage; also the state and the orders that several gateways share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.limits import Limits
from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.config import Settings
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.gateway.fleet.orders import Orders
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.gateway.fleet.usage import FleetUsage
from sdxl_gateway.rooms.ground import Ground
from sdxl_gateway.shared.open import Shared, open_shared


@dataclass(frozen=True, slots=True)
class Teams:
    """For this gateway alone, or for all that share a Redis."""

    shared: Shared
    usage: Usage
    limits: Limits
    keys: KeyStore
    orders: Orders | None
    questions: Questions | None

    @classmethod
    def open(cls, settings: Settings, ground: Ground, tell: Listener) -> Self:
        """Raises SharingProblem if the configured sharing is not possible."""
        database = ground.database
        shared = open_shared(settings, ground.home, LocalMeters(), ground.seal, tell)
        orders = None if shared.orders is None else Orders(database, shared.orders)
        questions = _questions(shared)
        usage = Usage(database) if questions is None else FleetUsage(database, questions)
        keys = KeyStore(database, ground.pepper, exchange=shared.keys)
        return cls(shared, usage, Limits(settings, shared.meters, usage), keys, orders, questions)


def _questions(shared: Shared) -> Questions | None:
    if shared.orders is None or shared.questions is None:
        return None
    return Questions(shared.questions, shared.orders.members)
