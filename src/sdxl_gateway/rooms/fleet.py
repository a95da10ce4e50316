"""What gateways that use one Redis share, and how they ask things of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.config import Settings
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.gateway.fleet.orders import Orders
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.rooms.persistence import Persistence
from sdxl_gateway.shared.open import Shared, open_shared


@dataclass(frozen=True, slots=True)
class Fleet:
    """Without Redis `shared` is this gateway's own, and there are neither `orders` nor `questions`."""

    shared: Shared
    orders: Orders | None
    questions: Questions | None

    @classmethod
    def open(cls, settings: Settings, persistence: Persistence, tell: Listener) -> Self:
        """Raises SharingProblem for settings that cannot be shared."""
        shared = open_shared(settings, persistence.home, LocalMeters(), persistence.seal, tell)
        if shared.orders is None:
            return cls(shared, None, None)
        questions = None if shared.questions is None else Questions(shared.questions, shared.orders.members)
        return cls(shared, Orders(persistence.database, shared.orders), questions)
