"""SIGTERM: what is being painted is finished or told, and no process stays behind."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.kit.servers import Server, is_alive, server, until

STEPS = "sdxl_gateway_denoise_steps_total"


def generate(one: Server, steps: int, stream: bool = False) -> httpx.Response:
    said = {"prompt": "a red circle", "steps": steps, "stream": stream}
    return httpx.post(f"{one.url}/v1/images/generations", json=said, timeout=120)


@pytest.mark.parametrize("grace_seconds", [30, 1])
def test_running_pictures_are_finished_or_told(tmp_path: Path, grace_seconds: int) -> None:
    finishes = grace_seconds == 30
    with server(tmp_path, server__shutdown_grace_seconds=str(grace_seconds)) as one, ThreadPoolExecutor(2) as pool:
        engine = one.engine_pid()
        running = [pool.submit(generate, one, 16 if finishes else 150, stream) for stream in (False, True)]
        until(lambda: one.metric("sdxl_gateway_requests_in_flight") == 2 and one.metric(STEPS) > 0)
        one.process.send_signal(signal.SIGTERM)
        whole, stream = (answer.result() for answer in running)
        one.process.wait(timeout=60)

    if finishes:
        assert whole.status_code == 200
        assert "event: image_generation.completed" in stream.text
    else:
        assert whole.status_code == 503
        assert whole.json()["error"]["type"] == "service_unavailable_error"
        assert "event: error" in stream.text
    assert one.process.returncode in (0, -signal.SIGTERM)
    assert not is_alive(engine)
    assert "Traceback" not in one.log
