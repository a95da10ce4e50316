"""Pixels in flight: never above the bound, in their order but for a few that fit, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.decoding.budget import MOST_OVERTAKEN, PixelBudget

LARGE, SMALL = 40, 1


class Crowd:
    """Callers of a budget, by name: who is in, and in which order they came in."""

    def __init__(self, pixels: int) -> None:
        self.budget = PixelBudget(pixels)
        self.entered: list[str] = []
        self._done: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(self, name: str, pixels: int) -> None:
        self._done[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._stay(name, pixels))
        await settled()

    async def goes(self, name: str) -> None:
        self._done[name].set()
        await settled()

    async def is_cancelled(self, name: str) -> None:
        self._tasks[name].cancel()
        await settled()

    async def _stay(self, name: str, pixels: int) -> None:
        async with self.budget.taken(pixels):
            self.entered.append(name)
            await self._done[name].wait()


async def settled() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_whoever_finds_room_enters_at_once() -> None:
    crowd = Crowd(80)
    for name in "abc":
        await crowd.comes(name, LARGE)
    assert (crowd.entered, crowd.budget.in_flight) == (["a", "b"], 80)

    await crowd.goes("a")
    assert (crowd.entered, crowd.budget.in_flight) == (["a", "b", "c"], 80)


async def test_small_ones_pass_a_large_one_that_waits_but_not_for_ever() -> None:
    crowd = Crowd(60)
    await crowd.comes("a", LARGE)
    await crowd.comes("b", LARGE)
    for number in range(MOST_OVERTAKEN + 3):
        await crowd.comes(f"small {number}", SMALL)
        await crowd.goes(f"small {number}")
    assert len(crowd.entered) == 1 + MOST_OVERTAKEN

    await crowd.goes("a")
    assert crowd.entered[1 + MOST_OVERTAKEN :] == ["b", *(f"small {MOST_OVERTAKEN + more}" for more in range(3))]


async def test_more_than_there_is_waits_until_it_is_alone() -> None:
    crowd = Crowd(80)
    await crowd.comes("a", SMALL)
    await crowd.comes("b", 1000)
    assert crowd.entered == ["a"]

    await crowd.goes("a")
    assert (crowd.entered, crowd.budget.in_flight) == (["a", "b"], 80)


@pytest.mark.parametrize("who", ["a", "b"])
async def test_who_is_cancelled_gives_back_what_it_has_or_its_place(who: str) -> None:
    crowd = Crowd(60)
    for name in "abc":
        await crowd.comes(name, LARGE)
    await crowd.is_cancelled(who)
    await crowd.goes("a")
    await crowd.goes("b")
    assert crowd.entered[-1] == "c"

    await crowd.goes("c")
    assert crowd.budget.in_flight == 0


@given(
    total=st.integers(1, 100),
    callers=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 5), st.booleans()), max_size=40),
)
def test_never_above_nobody_starves_and_all_is_given_back(total: int, callers: Sequence[tuple[int, int, bool]]) -> None:
    """Each caller wants pixels for some turns of the loop; those who are impatient leave when they please."""

    async def main() -> None:
        budget, inside = PixelBudget(total), list[int]()

        async def one(pixels: int, turns: int) -> None:
            async with budget.taken(pixels):
                inside.append(min(pixels, total))
                assert sum(inside) <= budget.in_flight <= total
                for _ in range(turns):
                    await asyncio.sleep(0)
                inside.remove(min(pixels, total))

        async def impatient(pixels: int, turns: int) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    async with budget.taken(pixels):
                        pass

        kinds = {True: impatient, False: one}
        async with asyncio.timeout(20):
            await asyncio.gather(*(kinds[leaves](pixels, turns) for pixels, turns, leaves in callers))
        assert budget.in_flight == 0

    asyncio.run(main())
