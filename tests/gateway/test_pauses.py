"""Which engines are held is told by /readyz, which is a 503 where all of them are for long."""

from __future__ import annotations

import pytest

from sdxl_gateway.core.events import EngineLost, EngineOpened, Event, Held, Measured
from sdxl_gateway.gateway.pauses import Pauses
from tests.kit.api import FakeGateway, client, served_api

HOT, FULL, WELL = Held("temperature", 95, 0.5), Held("memory", 50, 0.99), Held(None, 60, 0.5)


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def pauses(now: list[float]) -> Pauses:
    return Pauses(60.0, lambda: now[0])


def tell(pauses: Pauses, *events: Event) -> None:
    for event in events:
        pauses.on_event(event)


def opened(engine: str) -> Event:
    return EngineOpened(engine, "cuda:0", "float16", "")


def unready(pauses: Pauses) -> bool:
    return pauses.unready


def test_since_when_and_why(pauses: Pauses, now: list[float]) -> None:
    tell(pauses, opened("0"), opened("1"), Measured("0", HOT))
    now[0] = 10.0
    tell(pauses, Measured("0", FULL))
    assert pauses.told() == [{"engine": "0", "reason": "memory", "seconds": 10.0}]
    now[0] = 100.0
    assert not unready(pauses)
    tell(pauses, Measured("1", HOT))
    now[0] = 161.0
    assert unready(pauses)
    tell(pauses, Measured("0", WELL))
    assert not unready(pauses)
    tell(pauses, EngineLost("0"))
    assert unready(pauses)
    tell(pauses, EngineLost("1"))
    assert (unready(pauses), pauses.told()) == (False, [])


async def test_an_engine_that_is_lost_degrades_what_others_keep_ready(pauses: Pauses) -> None:
    served = served_api(FakeGateway(), pauses=pauses)
    async with client(served) as http:
        tell(pauses, opened("0"), opened("1"), EngineLost("1"))
        lost = await http.get("/readyz")
        tell(pauses, opened("1"))
        again = await http.get("/readyz")
    assert (lost.status_code, lost.json()["ready"], lost.json()["degraded"]) == (200, True, ["engine:1"])
    assert "degraded" not in again.json()


async def test_readyz(pauses: Pauses, now: list[float]) -> None:
    served = served_api(FakeGateway(), pauses=pauses)
    async with client(served) as http:
        tell(pauses, opened("0"), Measured("0", HOT))
        short = await http.get("/readyz")
        now[0] = 61.0
        long = await http.get("/readyz")
    assert (short.status_code, short.json()["held"]) == (
        200,
        [{"engine": "0", "reason": "temperature", "seconds": 0.0}],
    )
    assert (long.status_code, long.json()["ready"], long.json()["held"][0]["seconds"]) == (503, False, 61.0)
