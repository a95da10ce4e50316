"""Has orders that one gateway was given carried out at every gateway; at one that is away, once it is back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from sdxl_gateway.core.errors import GatewayError, Unavailable
from sdxl_gateway.core.order import ERASE_TENANT, Member, Order
from sdxl_gateway.shared.order_mirror import OrderMirror
from sdxl_gateway.storage import order_table
from sdxl_gateway.storage.database import Database

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
WAIT_SECONDS = 10.0
"""Whoever gives an order waits no longer than this for the other gateways."""
POLL_SECONDS = 0.2
THERE_SECONDS = 15.0
"""Gateways that reported within this time are waited for."""
SURE_SECONDS = 86400.0
"""An outcome that has to be known for longer than this still is."""
KEPT_SECONDS = 90 * 86400.0
"""A gateway that was away for longer does not get the order any more."""

Doing = Callable[[Order], Awaitable[Mapping[str, Any]]]
"""Carries out an order here; its outcome, as JSON. Raises a GatewayError when it is to be tried again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an order at each gateway; None where it is still to be carried out."""

    at: Mapping[Member, Mapping[str, Any] | None]


class Orders:
    """Every gateway keeps all orders in its own database; the mirror only carries them there. So a gateway that was
    away, or a mirror that was lost, misses none."""

    def __init__(self, database: Database, mirror: OrderMirror, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._mirror = mirror
        self._clock = clock
        self._doing: dict[str, Doing] = {}
        self._word: str | None = None
        self._turning = asyncio.Lock()

    def follow(self, kind: str, doing: Doing) -> None:
        """Carry out orders of this kind by `doing`."""
        self._doing[kind] = doing

    @property
    def gateway(self) -> str:
        """This gateway's id."""
        return self._mirror.gateway

    async def give(self, kind: str, subject: str, value: Mapping[str, Any]) -> Outcome:
        """Carry out an order here, and at the other gateways that are there.

        Raises Unavailable when it could not be carried out here, or the others' outcomes are out of reach: the order is
        kept then, and carried out everywhere as soon as possible.
        """
        order = Order(secrets.token_hex(16), kind, subject, self.gateway, self._clock(), dict(value))
        async with self._turning:
            await self._database.run(partial(order_table.add, orders=[order]))
            self._word = None
        await self.turn()
        if await self._database.run(partial(order_table.outcome, order_id=order.id)) is None:
            raise Unavailable("This cannot be done at the moment. It is noted, and done at all gateways later.")
        return await self._awaited(order)

    async def owing(self, gateway: str) -> Collection[str]:
        """The tenants that a gateway has still to erase, by the orders known here: all it reported of them is older.

        Orders whose outcomes may have expired count as done: what a gateway reported that long ago has expired too.
        Raises Unavailable.
        """
        since = self._clock() - self._mirror.kept_seconds + SURE_SECONDS
        known = (await self._database.run(order_table.known)).values()
        asked = {one.id: one.subject for one in known if one.kind == ERASE_TENANT and one.at >= since}
        done = await self._mirror.done(list(asked), gateway)
        return {tenant for order_id, tenant in asked.items() if order_id not in done}

    async def running(self) -> None:
        """Turn after turn, until this is cancelled."""
        while True:
            await self.turn()
            await asyncio.sleep(LOOK_SECONDS)

    async def turn(self) -> None:
        """Exchange orders, carry out what is due, and report the outcomes; what fails is tried in a later turn."""
        async with self._turning:
            with suppress(Unavailable):
                await self._exchange()
            for order in (await self._database.run(order_table.undone)).values():
                await self._do(order)
            with suppress(Unavailable):
                await self._tell_outcomes()

    async def _exchange(self) -> None:
        """Take the orders that are new here, and share those that the mirror lacks."""
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
        needless = [one for one in theirs.values() if not one.concerns(joined, 0.0)]
        await self._mirror.tell_outcomes({one.id: {} for one in needless})
        await self._database.run(partial(order_table.add, orders=new))
        lost = [one for one in ours.values() if one.id not in theirs]
        if lost:
            await self._mirror.tell(lost)
            await self._database.run(partial(order_table.note_told, order_ids=[one.id for one in lost], told=False))
        self._word = None if lost else word

    async def _do(self, order: Order) -> None:
        """An order of a kind that this version does not know stays undone; one that fails holds up no other."""
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
