"""What is counted: minutes slide, days end at midnight of UTC, jobs come back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.core.allowance import Meter, Unit

REQUESTS = Meter("tenant art", Unit.REQUESTS, 10)
STEPS = Meter("tenant art", Unit.PIXEL_STEPS, 1000)
JOBS = Meter("tenant art", Unit.JOBS, 2)
MIDNIGHT = 20_000 * 86_400.0


@dataclass
class Clock:
    now: float = MIDNIGHT

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The limits library's clock, and the meters'."""
    made = Clock()
    monkeypatch.setattr("limits.aio.storage.memory.time", made)
    return made


@pytest.fixture
def meters(clock: Clock) -> LocalMeters:
    return LocalMeters(clock=clock.time)


async def taken(meters: LocalMeters, meter: Meter, times: int) -> int:
    """How many of so many tries were let in."""
    count = 0
    for _ in range(times):
        if await meters.wait_seconds(meter, 1) == 0:
            await meters.take(meter, 1)
            count += 1
    return count


async def test_a_minute_holds_what_it_may(meters: LocalMeters) -> None:
    assert await taken(meters, REQUESTS, 25) == 10
    assert (await meters.level(REQUESTS)).remaining == 0


@pytest.mark.parametrize("start", [0.0, 7.0, 59.0])
@pytest.mark.parametrize("amount", [1, 4, 10])
async def test_who_waits_as_long_as_told_is_let_in_and_no_sooner(
    meters: LocalMeters, clock: Clock, start: float, amount: int
) -> None:
    clock.now += start
    await taken(meters, REQUESTS, 10)
    wait = await meters.wait_seconds(REQUESTS, amount)
    assert 0 < wait <= 120
    clock.now += wait - 0.01
    assert await meters.wait_seconds(REQUESTS, amount) > 0
    clock.now += 0.02
    assert await meters.wait_seconds(REQUESTS, amount) == 0


async def test_no_sliding_minute_lets_in_much_more_than_it_may(meters: LocalMeters, clock: Clock) -> None:
    let_in = []
    for _ in range(1200):
        clock.now += 0.25
        let_in += [clock.now] * await taken(meters, REQUESTS, 1)
    most = max(sum(one - 60 < other <= one for other in let_in) for one in let_in)
    assert most <= 1.5 * REQUESTS.most
    assert len(let_in) == pytest.approx(5 * REQUESTS.most, abs=REQUESTS.most)


async def test_untouched_meters_stand_at_their_most(meters: LocalMeters, clock: Clock) -> None:
    for meter in (REQUESTS, STEPS):
        level = await meters.level(meter)
        assert (level.remaining, level.reset_seconds) == (meter.most, 0.0)
    await taken(meters, REQUESTS, 3)
    clock.now += (await meters.level(REQUESTS)).reset_seconds
    assert (await meters.level(REQUESTS)).remaining == REQUESTS.most


async def test_a_day_ends_at_midnight(meters: LocalMeters, clock: Clock) -> None:
    clock.now = MIDNIGHT + 82_800
    await meters.take(STEPS, 900)
    assert await meters.wait_seconds(STEPS, 101) == 3600
    assert await meters.wait_seconds(STEPS, 100) == 0
    clock.now += 3600
    assert (await meters.level(STEPS)).remaining == 1000


async def test_what_was_taken_before_the_start_counts(meters: LocalMeters) -> None:
    meters.begin([("tenant art", 999), ("key a", 5)])
    assert (await meters.level(STEPS)).remaining == 1
    await meters.give_back(STEPS, 500)
    assert (await meters.level(STEPS)).remaining == 501


async def test_what_is_given_back_on_the_next_day_lifts_nothing(meters: LocalMeters, clock: Clock) -> None:
    await meters.take(STEPS, 900)
    clock.now += 86_400
    await meters.give_back(STEPS, 900)
    assert (await meters.level(STEPS)).remaining == 1000


async def test_jobs_come_back(meters: LocalMeters) -> None:
    assert await taken(meters, JOBS, 3) == 2
    await meters.give_back(JOBS, 1)
    assert await taken(meters, JOBS, 3) == 1


async def test_holders_and_units_are_apart(meters: LocalMeters) -> None:
    await taken(meters, REQUESTS, 10)
    other, images = Meter("key a", Unit.REQUESTS, 10), Meter("tenant art", Unit.IMAGES, 10)
    assert await taken(meters, other, 1) == await taken(meters, images, 1) == 1
