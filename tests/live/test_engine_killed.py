"""The engine process is killed in mid-picture: its client is told, the others wait, the server stays."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.kit.loopback import loopback
from tests.kit.servers import Server, is_alive, readiness, until

STEPS = "sdxl_gateway_denoise_steps_total"


def generate(one: Server, steps: int, **said: object) -> httpx.Response:
    body = {"prompt": "a red circle", "seed": 7, "steps": steps, "response_format": "b64_json", **said}
    return loopback.post(f"{one.url}/v1/images/generations", json=body, timeout=120)


def test_it_is_told_and_survived(narrow: Server) -> None:
    golden = generate(narrow, 3).json()["data"][0]["b64_json"]
    engine, before = narrow.engine_pid(), narrow.metric(STEPS)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(generate, narrow, 150)
        until(lambda: narrow.metric(STEPS) > before)
        os.kill(engine, signal.SIGSTOP)  # a slow test would let it come to its end
        queued = pool.submit(generate, narrow, 3)
        until(lambda: narrow.metric("sdxl_gateway_queue_depth") == 1)
        os.kill(engine, signal.SIGKILL)
        until(lambda: readiness(narrow) == 503)
        lost, waited = running.result(), queued.result()

    assert lost.status_code == 503
    assert set(lost.json()["error"]) == {"message", "type", "param", "code"}
    assert int(lost.headers["retry-after"]) >= 1
    assert waited.status_code == 200
    assert waited.json()["data"][0]["b64_json"] == golden
    until(lambda: readiness(narrow) == 200)
    assert generate(narrow, 3).json()["data"][0]["b64_json"] == golden
    assert narrow.process.poll() is None
    assert not is_alive(engine)
    assert narrow.engine_pid() != engine


def test_a_stream_ends_in_an_error_event(narrow: Server) -> None:
    before = narrow.metric(STEPS)
    body = {"prompt": "a red circle", "steps": 150, "stream": True}
    with loopback.stream("POST", f"{narrow.url}/v1/images/generations", json=body, timeout=120) as answer:
        assert answer.status_code == 200
        until(lambda: narrow.metric(STEPS) > before)
        os.kill(narrow.engine_pid(), signal.SIGKILL)
        told = answer.read().decode()

    assert told.count("event: error") == 1
    assert "completed" not in told
    assert '"service_unavailable_error"' in told
    until(lambda: readiness(narrow) == 200)
