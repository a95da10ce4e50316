"""Tests gateway/live_job.py: who waits for the bell hears it, and hears to be cancelled as well."""

from __future__ import annotations

import asyncio

import pytest

from sdxl_gateway.gateway.live_job import Bell


@pytest.mark.parametrize("turns", range(5))
async def test_who_is_cancelled_just_as_it_rings_is_cancelled(turns: int) -> None:
    bell = Bell()
    waiting = asyncio.create_task(bell.next(10))
    await asyncio.sleep(0)
    bell.ring()
    for _ in range(turns):
        await asyncio.sleep(0)
    told = waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled() is told


async def test_a_bell_that_does_not_ring_is_waited_for_no_longer_than_was_said() -> None:
    async with asyncio.timeout(5):
        await Bell().next(0.001)
