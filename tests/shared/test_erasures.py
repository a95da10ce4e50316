"""The gateway that is asked to erase a tenant sees to what gateways that are gone told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sdxl_gateway.config import Retention
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.events import Acted, Event
from sdxl_gateway.gateway.fleet import orders as fleet_orders
from sdxl_gateway.gateway.fleet.orders import Orders
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.gateway.fleet.remembered import FleetRemembered
from sdxl_gateway.storage.database import opened as database_in
from tests.kit.clock import Clock
from tests.kit.redis_server import RedisServer
from tests.kit.sharing import Sharer

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
ADMIN = Caller(tenant="ops")


@dataclass
class One:
    """A gateway; `erased` is what it erased elsewhere; while it is `stuck` it cannot."""

    orders: Orders
    questions: Questions
    told: list[Event] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    stuck: bool = False

    def __post_init__(self) -> None:
        about = (), (), Retention(), self.told.append
        self.remembered = FleetRemembered(*about, self.orders, self.questions, [self.erase])

    async def erase(self, tenant: str) -> None:
        if self.stuck:
            raise Unavailable("stuck")
        self.erased.append(tenant)


@asynccontextmanager
async def one_in(redis: RedisServer, folder: Path, clock: Clock) -> AsyncIterator[One]:
    """Nobody but its own turns does anything."""
    async with Sharer.opened(redis, folder) as sharer:
        orders, questions = sharer.shared.orders, sharer.shared.questions
        assert orders is not None
        assert questions is not None
        orders._clock = clock  # type: ignore[attr-defined]
        with database_in(folder) as database:
            one = One(Orders(database, orders, clock), Questions(questions, orders.members))
            await one.orders.turn()
            yield one


async def test_who_was_asked_sees_to_those_that_are_gone_and_nobody_else(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_orders, "WAIT_SECONDS", 0.0)
    clock = Clock(1_000_000.0)
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(one_in(redis, tmp_path / name, clock)) for name in "ab"]
        clock.now += 1.0
        a.stuck = True
        with pytest.raises(Unavailable, match="It is noted"):
            await a.remembered.erase_everywhere("art", ADMIN)
        a.stuck = False
        for one in (b, a, b, a):
            await one.orders.turn()
        assert (a.erased, b.erased) == (["art"], [])
        assert [one.action for one in b.told if isinstance(one, Acted)] == ["tenant.erased"]
