"""Who asks, and how much of it they may: keys, limits, usage; what several gateways share, and are all to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.limits import Limits
from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.config import Settings
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.gateway.fleet_orders import Orders
from sdxl_gateway.gateway.fleet_questions import Questions
from sdxl_gateway.rooms.ground import Ground
from sdxl_gateway.shared.open import Shared, open_shared


@dataclass(frozen=True, slots=True)
class Teams:
    """Of this gateway, or of all that share a Redis."""

    shared: Shared
    usage: Usage
    limits: Limits
    keys: KeyStore
    orders: Orders | None
    questions: Questions | None

    @classmethod
    def open(cls, settings: Settings, ground: Ground, tell: Listener) -> Self:
        """Raises SharingProblem where what is to be shared cannot be."""
        usage = Usage(ground.database)
        shared = open_shared(settings, ground.home, LocalMeters(), ground.seal, tell)
        keys = KeyStore(ground.database, ground.pepper, exchange=shared.keys)
        limits = Limits(settings, shared.meters, usage)
        if shared.orders is None or shared.questions is None:
            return cls(shared, usage, limits, keys, None, None)
        orders, questions = Orders(ground.database, shared.orders), Questions(shared.questions, shared.orders.members)
        return cls(shared, usage, limits, keys, orders, questions)
