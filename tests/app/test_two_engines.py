"""One of two engines is killed under load: the other goes on, every request is answered, and the lost one returns."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.kit.fake_server import engines, started
from tests.kit.loopback import loopback
from tests.kit.servers import until

NOBODY = "127.0.0.1:9"
ASKED = {"prompt": "a fox step-seconds=0.02", "steps": 5, "size": "64x64", "response_format": "b64_json"}


def ask(url: str) -> int:
    return loopback.post(f"{url}/v1/images/generations", json=ASKED, timeout=60).status_code


def ready(url: str) -> dict[str, Any]:
    answer = loopback.get(f"{url}/readyz", timeout=60)
    assert answer.status_code == 200, "one engine is enough"
    told: dict[str, Any] = answer.json()
    return told


def metrics(url: str) -> str:
    return loopback.get(f"{url}/metrics", timeout=60).text


def painting(url: str) -> int:
    """How many engines paint now."""
    told = metrics(url).splitlines()
    return sum(line.startswith("sdxl_gateway_engine_ready{") and line.endswith(" 1.0") for line in told)


def given(url: str) -> int:
    """How many engines were given a job so far."""
    return len(set(re.findall(r'engine_jobs_total\{engine="(\d)"', metrics(url))))


def test_the_other_goes_on(tmp_path: Path) -> None:
    with started(tmp_path, NOBODY, ("cpu", "cpu")) as (url, server), ThreadPoolExecutor(16) as pool:
        until(lambda: painting(url) == 2)
        asked = [pool.submit(ask, url) for _ in range(32)]
        until(lambda: given(url) == 2)
        os.kill(engines(server)[1], signal.SIGKILL)
        until(lambda: len(ready(url).get("degraded", ())) == 1)
        assert {one.result() for one in asked} == {200}
        until(lambda: "degraded" not in ready(url) and painting(url) == 2)
