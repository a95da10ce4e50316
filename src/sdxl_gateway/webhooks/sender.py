"""Sends webhooks that are due, also those that a killed server left, and stores the outcomes."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Callable
from functools import partial

from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.outside import WebhookTried
from sdxl_gateway.core.trace import Trace, following
from sdxl_gateway.core.webhook import Delivery, DeliveryState
from sdxl_gateway.egress.egress import Egress, Reply
from sdxl_gateway.egress.errors import EgressFailed, EgressRefused
from sdxl_gateway.storage import webhook_table
from sdxl_gateway.storage.database import Database
from sdxl_gateway.webhooks.schedule import Answer, settled
from sdxl_gateway.webhooks.signing import signed_headers
from sdxl_gateway.webhooks.store import WebhookStore
from sdxl_gateway.webhooks.turns import Turns

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""The interval of looking for deliveries that are due."""
LEASE_SECONDS = 60.0
"""Besides an attempt's timeout; then a delivery whose sender died is claimed by another."""
PARTING_SECONDS = 2.0
"""How long running attempts may still end at shutdown, so that what was delivered is not sent again."""


class WebhookSender:
    """`timeout_seconds` is for one attempt; `share` returns numbers from 0 to 1, for jitter."""

    def __init__(
        self,
        database: Database,
        store: WebhookStore,
        egress: Egress,
        listener: Listener,
        *,
        timeout_seconds: float,
        look_seconds: float = LOOK_SECONDS,
        share: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self.store = store
        self._egress = egress
        self._listener = listener
        self._timeout_seconds = timeout_seconds
        self._look_seconds = look_seconds
        self._share = share
        self._turns = Turns()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for deliveries that are due, now."""
        self._woken.set()

    async def sending(self) -> None:
        """Send what is due, until this is cancelled."""
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._woken.clear()
                for delivery in await self._database.run(partial(self._claimed, turns=self._turns.copy())):
                    self._turns.begin(delivery)
                    task = asyncio.create_task(self._send(delivery))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                await self._pause()
        finally:
            await _parted(under_way)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._look_seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _claimed(self, connection: sqlite3.Connection, turns: Turns) -> list[Delivery]:
        """Claim all deliveries that may be sent now, in one transaction."""
        found: list[Delivery] = []
        now = self.store.clock()
        until = now + self._timeout_seconds + LEASE_SECONDS
        while turns.free:
            one = webhook_table.claim(connection, now, until, turns.ids, turns.full_hosts, turns.full_tenants)
            if one is None:
                break
            turns.begin(one)
            found.append(one)
        return found

    async def _send(self, delivery: Delivery) -> None:
        try:
            await self._try(delivery)
        except Exception:
            log.exception("an attempt to send %s was not remembered; it is sent again later", delivery.id)
        finally:
            self._turns.end(delivery)
            self.wake()

    async def _try(self, delivery: Delivery) -> None:
        began, told_of = time.monotonic(), Trace.read(delivery.trace or "")
        trace = None if told_of is None else told_of.child()
        with following(trace):
            answer = await self._answer(delivery)
        after = settled(delivery, answer, self.store.clock(), self._share)
        await self._database.run(partial(webhook_table.settle, delivery=after))
        outcome = "retried" if after.state is DeliveryState.PENDING else after.state.value
        self._listener(WebhookTried(outcome, time.monotonic() - began, trace))

    async def _answer(self, delivery: Delivery) -> Answer:
        headers = signed_headers(delivery, await self.store.secrets(delivery.tenant), self.store.clock())
        try:
            reply = await self._egress.post(
                delivery.url,
                content=delivery.body.encode(),
                headers=headers,
                timeout_seconds=self._timeout_seconds,
                max_bytes=0,
            )
        except (EgressRefused, EgressFailed) as why:
            return Answer(problem=f"Not reached: {why}.")
        return Answer(reply.status, None, _retry_after(reply))


async def _parted(under_way: set[asyncio.Task[None]]) -> None:
    if under_way:
        _, late = await asyncio.wait(under_way, timeout=PARTING_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _retry_after(reply: Reply) -> float:
    """Retry-After in seconds; a date is ignored."""
    told = reply.headers.get("retry-after", "").strip()
    return float(told) if told.isascii() and told.isdigit() and len(told) < 10 else 0.0
