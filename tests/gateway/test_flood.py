"""A flood of one tenant through HTTP, admission, line and loop: another one waits for its share and no more."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from tests.kit.api import GENERATE
from tests.kit.serving import served

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
ASKED = {"prompt": "step-seconds=0.05", "size": "64x64", "steps": 3, "response_format": "b64_json"}
FLOOD = 120
QUIET = 6


async def painted(http: httpx.AsyncClient, key: str) -> float:
    """Seconds of one picture."""
    start = time.monotonic()
    answer = await http.post(GENERATE, json=ASKED, headers={"api-key": key})
    assert answer.status_code == 200, answer.text
    return time.monotonic() - start


async def longest(http: httpx.AsyncClient, key: str) -> float:
    """Of a few requests, one after another."""
    return max([await painted(http, key) for _ in range(QUIET)])


async def waiting(http: httpx.AsyncClient) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("sdxl_gateway_queue_depth "))


async def crowded(http: httpx.AsyncClient) -> None:
    """Returns once half of the flood waits."""
    for _ in range(400):
        if await waiting(http) >= FLOOD / 2:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


async def test_a_flood_leaves_another_tenant_its_share(tmp_path: Path) -> None:
    """Of two tenants each is due half the device: a picture takes twice as long, and at most twice that."""
    auth = {"api_keys": ["flood", "quiet"]}
    async with served(tmp_path, auth=auth, limits={"queue_size": FLOOD}, telemetry={"log_level": "error"}) as http:
        alone = await longest(http, "quiet")
        flood = [asyncio.create_task(painted(http, "flood")) for _ in range(FLOOD)]
        await crowded(http)
        together = await longest(http, "quiet")
        assert await waiting(http) > 0, "the flood was over too soon"
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    assert together <= 2 * 2 * alone
