"""Counts usage at all gateways together (core Meters), and at this one alone while Redis is down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from limits.aio.storage import RedisStorage

from sdxl_gateway.accounts.meters import LocalMeters, MinuteMeters, level_of
from sdxl_gateway.core.allowance import Level, Meter, Unit
from sdxl_gateway.core.days import day_of
from sdxl_gateway.shared.counts import ANY, NONE, Counts
from sdxl_gateway.shared.link import Link, SharedStateDown

LEASE_SECONDS = 15.0
"""The places held by a gateway that has not reported for so long are free again."""
RENEW_SECONDS = 5.0
DAY_KEPT_SECONDS = 2 * 86400

DAY = """
-- One holder's day. ARGV: amount, limit, retention in s. Returns whether the amount fitted.
if (tonumber(redis.call('GET', KEYS[1])) or 0) + ARGV[1] > tonumber(ARGV[2]) then return 0 end
redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class SharedMeters:
    """All usage is also counted locally, and the higher count applies: Redis may have lost what it held."""

    def __init__(self, link: Link, local: LocalMeters, gateway_id: str, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._local = local
        self._clock = clock
        pool: dict[str, Any] = {"connection_pool": link.redis.connection_pool}
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=link.key("minute"), **pool)
        self._minutes = MinuteMeters(storage)
        self._places = Counts(link, "places", gateway_id, LEASE_SECONDS)
        self._day = link.redis.register_script(DAY)
        self._telling = asyncio.Lock()

    async def level(self, meter: Meter) -> Level:
        """The meter's current level."""
        mine = await self._local.level(meter)
        try:
            all_of_us = await self._link.ask(partial(self._level, meter))
        except SharedStateDown:
            return mine
        return min(all_of_us, mine, key=lambda level: level.remaining)

    async def wait_seconds(self, meter: Meter, amount: int) -> float:
        """The seconds until this amount may be taken."""
        mine = await self._local.wait_seconds(meter, amount)
        if mine > 0:
            return mine
        try:
            return await self._link.ask(partial(self._wait_seconds, meter, amount))
        except SharedStateDown:
            return mine

    async def take(self, meter: Meter, amount: int) -> bool:
        """Take this amount; False if others took it meanwhile."""
        if not await self._local.take(meter, amount):
            return False
        fitted = False
        try:
            fitted = await self._link.ask(partial(self._take, meter, amount))
        except SharedStateDown:
            fitted = True
        finally:
            if not fitted:
                await self._local.give_back(meter, amount)
        return fitted

    async def give_back(self, meter: Meter, amount: int) -> None:
        """Return an unused amount. Redis is told in the background, where it cannot be cancelled."""
        await self._local.give_back(meter, amount)
        if meter.unit is Unit.JOBS:
            self._link.soon(partial(self._publish, meter.holder))
        elif meter.unit is Unit.PIXEL_STEPS:
            self._link.soon(partial(self._link.redis.decrby, self._day_key(meter), amount))

    async def renewing(self) -> None:
        """Report regularly how many places this gateway holds, until cancelled."""
        while True:
            self._link.soon(self._link.redis.ping)
            for holder in self._local.holders_at_once:
                self._link.soon(partial(self._publish, holder))
            await asyncio.sleep(RENEW_SECONDS)

    async def _level(self, meter: Meter) -> Level:
        if meter.unit is Unit.JOBS:
            return level_of(meter, await self._held(meter.holder, NONE), self._clock())
        if meter.unit is Unit.PIXEL_STEPS:
            return level_of(meter, int(await self._link.redis.get(self._day_key(meter)) or 0), self._clock())
        return await self._minutes.level(meter)

    async def _wait_seconds(self, meter: Meter, amount: int) -> float:
        if meter.unit in (Unit.REQUESTS, Unit.IMAGES):
            return await self._minutes.wait_seconds(meter, amount)
        level = await self._level(meter)
        return 0.0 if amount <= level.remaining else level.reset_seconds

    async def _take(self, meter: Meter, amount: int) -> bool:
        if meter.unit is Unit.JOBS:
            return await self._held(meter.holder, meter.most) <= meter.most
        if meter.unit is Unit.PIXEL_STEPS:
            return bool(await self._day([self._day_key(meter)], [amount, meter.most, DAY_KEPT_SECONDS]))
        return await self._minutes.take(meter, amount)

    async def _publish(self, holder: str) -> None:
        await self._held(holder, ANY)

    async def _held(self, holder: str, most: int) -> int:
        """The places held at all gateways. One call at a time: an older count must not overwrite a newer one."""
        async with self._telling:
            return await self._places.sum(holder, self._local.at_once(holder), most)

    def _day_key(self, meter: Meter) -> str:
        return self._link.key("day", day_of(self._clock()), meter.holder)
