"""Two engines of one thread each paint the demo at once; one is killed under load, and every request is answered."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.loopback import loopback
from tests.kit.servers import Server, readiness, server, until


def paint(one: Server, seed: int, steps: int) -> httpx.Response:
    body = {"model": "demo", "prompt": "a red circle", "seed": seed, "steps": steps, "response_format": "b64_json"}
    return loopback.post(f"{one.url}/v1/images/generations", json=body, timeout=300)


def busy(one: Server) -> list[float]:
    return [one.metric(f'sdxl_gateway_engine_busy_seconds_total{{engine="{number}"}}') for number in range(2)]


def told(one: Server) -> dict[str, Any]:
    found: dict[str, Any] = loopback.get(f"{one.url}/readyz").json()
    return found


@pytest.mark.full
def test_both_paint_and_one_is_enough(tmp_path: Path) -> None:
    apart = server(tmp_path, engine__device="auto", engine__devices="cpu,cpu", engine__max_lanes="1")
    with apart as one, ThreadPoolExecutor(8) as pool:
        ready = 'sdxl_gateway_engine_ready{device="cpu",engine="%d"}'
        until(lambda: all(one.metric(ready % number) for number in range(2)))
        golden = paint(one, 7, 3).json()["data"][0]["b64_json"]
        asked = [pool.submit(paint, one, 7, 3 if number % 2 else 30) for number in range(12)]
        before = busy(one)
        until(lambda: all(now > then for now, then in zip(busy(one), before, strict=True)))
        os.kill(one.engine_pids()[0], signal.SIGKILL)
        until(lambda: len(told(one).get("degraded", [])) == 1)
        assert readiness(one) == 200
        answers = [answer.result() for answer in asked]

        assert [answer.status_code for answer in answers] == [200] * 12
        assert {answer.json()["data"][0]["b64_json"] for answer in answers[1::2]} == {golden}
        until(lambda: "degraded" not in told(one))
        assert len(one.engine_pids()) == 2
