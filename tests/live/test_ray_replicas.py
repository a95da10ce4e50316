"""Two gateways before two replicas of a real Ray cluster: one is killed under load; more come and go by the wait."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.kit.ray_cluster import engine_actors, open_ports
from tests.kit.servers import TROUBLE, Server, until
from tests.kit.topologies import gateways, ready_engines

pytestmark = pytest.mark.full

FEW = {"model": "demo+sunset:0.5", "prompt": "a red circle", "size": "64x64", "response_format": "b64_json"}


def ask(one: Server, seed: int, steps: int = 6) -> httpx.Response:
    return httpx.post(f"{one.url}/v1/images/generations", json={**FEW, "seed": seed, "steps": steps}, timeout=300)


def leave(one: Server, seed: int) -> str:
    """The address of a job that is accepted: on the disk."""
    body, headers = {**FEW, "seed": seed, "steps": 6}, {"Prefer": "respond-async"}
    answer = httpx.post(f"{one.url}/v1/images/generations", json=body, headers=headers, timeout=300)
    assert answer.status_code == 202, answer.text
    return f"{one.url}{answer.headers['location']}"


def job(address: str) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(address, timeout=60).json()
    return told


def picture(reply: dict[str, Any]) -> str:
    return str(reply["data"][0]["b64_json"])


def counted(one: Server, name: str, labels: str = "") -> float:
    text = httpx.get(f"{one.url}/metrics").text
    found = re.findall(rf"^sdxl_gateway_{name}_total\{{[^}}]*{labels}[^}}]*\}} (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


def test_a_replica_killed_under_load_costs_nobody_anything(tmp_path: Path) -> None:
    with gateways(tmp_path, 2, 2, engine__max_lanes="1") as both, ThreadPoolExecutor(16) as pool:
        assert open_ports() == []
        golden = {seed: picture(ask(both[0], seed).json()) for seed in range(3)}
        asked = [(number % 3, pool.submit(ask, both[number % 2], number % 3)) for number in range(16)]
        left = [(number % 3, leave(both[number % 2], number % 3)) for number in range(8)]
        until(lambda: all(counted(one, "engine_jobs", f'engine="{n}"') > 1 for one in both for n in range(2)))
        os.kill(engine_actors()[0], signal.SIGKILL)

        answers = [(seed, one.result()) for seed, one in asked]
        assert [answer.status_code for _, answer in answers] == [200] * 16
        assert all(picture(answer.json()) == golden[seed] for seed, answer in answers)
        until(lambda: all(job(address)["state"] == "completed" for _, address in left))
        assert all(picture(job(address)["result"]) == golden[seed] for seed, address in left)
        assert sum(counted(one, "engine_jobs_taken_back", 'reason="lost"') for one in both) > 0
        until(lambda: all(ready_engines(one) == 2 for one in both))
        assert all("degraded" not in httpx.get(f"{one.url}/readyz").json() for one in both)
        assert TROUBLE.findall(both[0].log) == []


def test_replicas_come_while_many_wait_and_leave_without_losing_any(tmp_path: Path) -> None:
    scaled = {"max_replicas": "2", "wait_seconds": "1", "upscale_seconds": "1", "downscale_seconds": "2"}
    settings = {f"cluster__{key}": value for key, value in scaled.items()}
    enough = Event()
    with gateways(tmp_path, 1, 1, **settings) as (one,), ThreadPoolExecutor(16) as pool:

        def ask_on() -> set[int]:
            found = set()
            while not enough.is_set():
                found.add(ask(one, 1, 12).status_code)
            return found

        asking = [pool.submit(ask_on) for _ in range(16)]
        try:
            until(lambda: counted(one, "engine_jobs", 'engine="1"') > 0, seconds=240, every=1.0)
        finally:
            enough.set()
        assert set().union(*(answers.result() for answers in asking)) == {200}
        until(lambda: ready_engines(one) == 1, every=0.5)
        assert "degraded" not in httpx.get(f"{one.url}/readyz").json()
        assert ask(one, 1).status_code == 200
