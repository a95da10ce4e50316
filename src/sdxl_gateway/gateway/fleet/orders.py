"""Has what was asked of one gateway done at all of them, at those that are not there now once they are back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from sdxl_gateway.core.errors import GatewayError, Unavailable
from sdxl_gateway.core.order import Member, Order
from sdxl_gateway.shared.order_mirror import OrderMirror
from sdxl_gateway.storage import order_table
from sdxl_gateway.storage.database import Database

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
WAIT_SECONDS = 10.0
"""Whoever asks waits no longer for gateways that are there."""
POLL_SECONDS = 0.2
THERE_SECONDS = 15.0
"""A gateway that said so within this time is waited for."""
KEPT_SECONDS = 90 * 86400.0
"""One that was away for longer does not hear of an order any more."""

Doing = Callable[[Order], Awaitable[Mapping[str, Any]]]
"""Does it here, and gives what came of it, as JSON. Raises a GatewayError where it is to be tried again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order, by gateway; None where a gateway has still to do it."""

    at: Mapping[Member, Mapping[str, Any] | None]


class Orders:
    """This gateway's part in it. Each has all orders in its database, and the mirror is only how they come there: who
    was away, or found the mirror empty, misses none."""

    def __init__(self, database: Database, mirror: OrderMirror, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._mirror = mirror
        self._clock = clock
        self._doing: dict[str, Doing] = {}
        self._word: str | None = None
        self._turning = asyncio.Lock()

    def follow(self, kind: str, doing: Doing) -> None:
        """Orders of this kind are done so."""
        self._doing[kind] = doing

    @property
    def gateway(self) -> str:
        """This one's id."""
        return self._mirror.gateway

    async def give(self, kind: str, subject: str, value: Mapping[str, Any]) -> Outcome:
        """It is done here, and at the others as far as they are there.

        Raises Unavailable where it could not be done here, or nobody says what came of it elsewhere: it is noted then,
        and done everywhere as soon as it can be.
        """
        order = Order(secrets.token_hex(16), kind, subject, self.gateway, self._clock(), dict(value))
        async with self._turning:
            await self._database.run(partial(order_table.add, orders=[order]))
            self._word = None
        await self.turn()
        if await self._database.run(partial(order_table.outcome, order_id=order.id)) is None:
            raise Unavailable("This cannot be done at the moment. It is noted, and done at all gateways later.")
        return await self._awaited(order)

    async def running(self) -> None:
        """Turn after turn, until it is cancelled."""
        while True:
            await self.turn()
            await asyncio.sleep(LOOK_SECONDS)

    async def turn(self) -> None:
        """What others ask is done, and they hear what is asked and done here; what cannot be now is in a later turn."""
        async with self._turning:
            with suppress(Unavailable):
                await self._exchange()
            for order in (await self._database.run(order_table.undone)).values():
                await self._do(order)
            with suppress(Unavailable):
                await self._tell_outcomes()

    async def _exchange(self) -> None:
        """Afterwards everybody knows what anybody knows, but what is too old, or from before a gateway was one."""
        word, now = await self._mirror.look(), self._clock()
        oldest = now - KEPT_SECONDS
        joined = await self._database.run(partial(order_table.joined, now=now))
        if word is not None and word == self._word:
            return
        await self._database.run(partial(order_table.forget, before=oldest))
        ours = await self._database.run(order_table.known)
        theirs = {order.id: order for order in await self._mirror.orders()}
        await self._mirror.forget([one.id for one in theirs.values() if not one.concerns(0.0, oldest)])
        new = [one for one in theirs.values() if one.id not in ours and one.concerns(joined, oldest)]
        await self._database.run(partial(order_table.add, orders=new))
        lost = [one for one in ours.values() if one.id not in theirs]
        if lost:
            await self._mirror.tell(lost)
            await self._database.run(partial(order_table.note_told, order_ids=[one.id for one in lost], told=False))
        self._word = None if lost else word

    async def _do(self, order: Order) -> None:
        """An order that this version does not know waits for one that does; one that fails holds up no other."""
        doing = self._doing.get(order.kind)
        if doing is None:
            return
        self._word = None  # others may not have heard of it: a terminal writes into the database too
        try:
            outcome = await doing(order)
        except GatewayError as problem:
            log.warning("%s of %s is still to be done: %s", order.kind, order.subject, problem)
        except Exception:
            log.exception("%s of %s failed, and is still to be done", order.kind, order.subject)
        else:
            await self._settled(order, outcome)

    async def _settled(self, order: Order, outcome: Mapping[str, Any]) -> None:
        await self._database.run(partial(order_table.settle, order_id=order.id, what=outcome))

    async def _tell_outcomes(self) -> None:
        outcomes = await self._database.run(order_table.untold)
        await self._mirror.tell_outcomes(outcomes)
        await self._database.run(partial(order_table.note_told, order_ids=list(outcomes), told=True))

    async def _awaited(self, order: Order) -> Outcome:
        loop = asyncio.get_running_loop()
        end = loop.time() + WAIT_SECONDS
        while True:
            members, outcomes = await self._mirror.members(), await self._mirror.outcomes(order.id)
            at = {member: outcomes.get(member.id) for member in members}
            since = self._clock() - THERE_SECONDS
            waiting = any(what is None and member.seen >= since for member, what in at.items())
            if not waiting or loop.time() > end:
                return Outcome(at)
            await asyncio.sleep(POLL_SECONDS)
