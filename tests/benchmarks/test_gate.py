"""The rows about the gate are measured, here in small."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.flood import flood, post
from benchmarks.gate import cost_rows, flood_rows
from tests.kit.raw_http import served


async def test_every_request_of_a_flood_is_counted() -> None:
    async with served() as house:
        url = f"http://127.0.0.1:{house.port}"
        found = await asyncio.to_thread(flood, url, post("/read", b"{}", api_key="k"), 60, 20)
    assert (dict(found.answers), found.unanswered) == ({200: 60}, 0)
    assert (house.requests, house.read_bytes) == (60, 120)


@pytest.mark.full
def test_the_gate_is_measured() -> None:
    rows = [*flood_rows(200, 50), *cost_rows(2)]
    assert [row.figure for row in rows if row.name.endswith("unanswered")] == [0, 0]
    assert rows[-1].figure > 0
