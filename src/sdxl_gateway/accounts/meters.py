"""core Meters in memory: minutes are counted by the limits library, days and jobs here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import cast

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.storage.base import SlidingWindowCounterSupport
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from sdxl_gateway.core.allowance import Level, Meter, Unit
from sdxl_gateway.core.days import day_of, seconds_left

PAUSE_SECONDS = 2.0
"""When jobs end is not known: a caller with too many at once is told to come back after this time."""
MINUTE_SECONDS = 60


class LocalMeters:
    """The meters of one server. Nothing is awaited between two counts of a request, so that they are taken together.

    `begin` sets what was taken earlier today.
    """

    def __init__(self, minutes: MinuteMeters | None = None, clock: Callable[[], float] = time.time) -> None:
        self._minutes = minutes or MinuteMeters()
        self._clock = clock
        self._jobs: Counter[str] = Counter()
        self._today = ""
        self._day: Counter[str] = Counter()

    def begin(self, taken_today: Iterable[tuple[str, int]]) -> None:
        """Set the pixel-steps that holders took earlier today."""
        self._today = day_of(self._clock())
        self._day = Counter(dict(taken_today))

    async def level(self, meter: Meter) -> Level:
        """How it stands."""
        if meter.unit in (Unit.REQUESTS, Unit.IMAGES):
            return await self._minutes.level(meter)
        return level_of(meter, self._counter(meter)[meter.holder], self._clock())

    async def wait_seconds(self, meter: Meter, amount: int) -> float:
        """Until so much more may be taken."""
        if meter.unit in (Unit.REQUESTS, Unit.IMAGES):
            return await self._minutes.wait_seconds(meter, amount)
        level = await self.level(meter)
        return 0.0 if amount <= level.remaining else level.reset_seconds

    async def take(self, meter: Meter, amount: int) -> bool:
        """Count so much; False where it is more than is left."""
        if meter.unit in (Unit.REQUESTS, Unit.IMAGES):
            return await self._minutes.take(meter, amount)
        counter = self._counter(meter)
        if counter[meter.holder] + amount > meter.most:
            return False
        counter[meter.holder] += amount
        return True

    async def give_back(self, meter: Meter, amount: int) -> None:
        """So much was not used; a minute's stays counted, and what was taken on another day is forgotten already."""
        if meter.unit in (Unit.REQUESTS, Unit.IMAGES):
            return
        counter = self._counter(meter)
        counter[meter.holder] -= amount
        if counter[meter.holder] <= 0:
            del counter[meter.holder]

    @property
    def holders_at_once(self) -> list[str]:
        """The holders with jobs that run or wait."""
        return list(self._jobs)

    def at_once(self, holder: str) -> int:
        """How many jobs of a holder run or wait."""
        return self._jobs[holder]

    def _counter(self, meter: Meter) -> Counter[str]:
        return self._jobs if meter.unit is Unit.JOBS else self._of_today()

    def _of_today(self) -> Counter[str]:
        today = day_of(self._clock())
        if today != self._today:
            self._today, self._day = today, Counter()
        return self._day


class MinuteMeters:
    """Meters of a sliding minute, in any storage of the limits library that can count one: its memory, else Redis.

    What was taken in the minute of the clock before this one counts for as much of it as the sliding minute covers.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self._storage = storage or MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def level(self, meter: Meter) -> Level:
        """How it stands."""
        before, before_left, now, now_left = await self._counts(meter)
        remaining = max(meter.most - int(_taken(before, before_left, now)), 0)
        return Level(meter, remaining, now_left if now else before_left)

    async def wait_seconds(self, meter: Meter, amount: int) -> float:
        """Until so much more may be taken, at most `meter.most`."""
        before, before_left, now, now_left = await self._counts(meter)
        room = meter.most - amount
        if int(_taken(before, before_left, now)) <= room:
            return 0.0
        if now <= room:
            return before_left - _covered(room - now + 1, before)
        return now_left - _covered(room + 1, now)

    async def take(self, meter: Meter, amount: int) -> bool:
        """Count so much, where it fits; whether it did."""
        return await self._limiter.hit(_item(meter), meter.holder, cost=amount)

    async def _counts(self, meter: Meter) -> tuple[int, float, int, float]:
        """Taken in the clock's last minute, for how long that still counts; taken in this one, until that is over."""
        item = _item(meter)
        storage = cast(SlidingWindowCounterSupport, self._storage)
        return await storage.get_sliding_window(item.key_for(meter.holder), item.get_expiry())


def level_of(meter: Meter, taken: int, now: float) -> Level:
    """How a meter of a day or of jobs at once stands, of which so much is taken."""
    reset = PAUSE_SECONDS if meter.unit is Unit.JOBS else seconds_left(now) if taken else 0.0
    return Level(meter, max(meter.most - taken, 0), reset)


def _item(meter: Meter) -> RateLimitItemPerMinute:
    return RateLimitItemPerMinute(meter.most, namespace=meter.unit.value)


def _taken(before: int, before_left: float, now: int) -> float:
    return before * before_left / MINUTE_SECONDS + now


def _covered(count: int, of: int) -> float:
    """For how many seconds of a minute that many of those taken in it still count."""
    return MINUTE_SECONDS * count / of
