"""SIGTERM: what is being painted is finished or told, and no process stays behind."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.kit.loopback import loopback
from tests.kit.servers import Server, is_alive, server, until

STEPS = "sdxl_gateway_denoise_steps_total"


def generate(one: Server, steps: int, stream: bool = False) -> httpx.Response:
    said = {"prompt": "a red circle", "steps": steps, "stream": stream}
    return loopback.post(f"{one.url}/v1/images/generations", json=said, timeout=120)


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


@pytest.mark.parametrize("insists", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)])
def test_a_second_signal_ends_now_and_tells(tmp_path: Path, insists: int) -> None:
    """Asked for more steps than the grace has time for, so that only the second signal can have ended them."""
    with server(tmp_path, server__shutdown_grace_seconds="600") as one, ThreadPoolExecutor(2) as pool:
        engine = one.engine_pid()
        running = [pool.submit(generate, one, 150, stream) for stream in (False, True)]
        until(lambda: one.metric("sdxl_gateway_requests_in_flight") == 2 and one.metric(STEPS) > 0)
        one.process.send_signal(signal.SIGTERM)
        until(lambda: "Shutting down" in one.log)
        one.process.send_signal(insists)
        whole, stream = (answer.result() for answer in running)
        one.process.wait(timeout=60)

    assert (whole.status_code, whole.json()["error"]["message"]) == (503, "The server is closing.")
    assert "event: error" in stream.text
    assert one.process.returncode in (0, -signal.SIGTERM)
    assert not is_alive(engine)
    assert "Traceback" not in one.log


HALVES = {
    "application/json": b'{"prompt"',
    "multipart/form-data; boundary=x": b"--x\r\ncontent-disposition: form-data;",
}


def test_uploads_half_sent_are_told(tmp_path: Path) -> None:
    with server(tmp_path, server__shutdown_grace_seconds="1") as one, ExitStack() as stack:
        host, port = one.url.removeprefix("http://").split(":")
        sending = []
        for kind, begun in HALVES.items():
            head = f"POST /v1/images/edits HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 9999\r\n\r\n"
            sending.append(stack.enter_context(socket.create_connection((host, int(port)), timeout=60)))
            sending[-1].sendall(head.encode() + begun)
        until(lambda: loopback.get(f"{one.url}/readyz").status_code == 200)
        one.process.send_signal(signal.SIGTERM)
        answers = [b"".join(iter(partial(each.recv, 65536), b"")) for each in sending]
        one.process.wait(timeout=60)

    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
    assert all(b"service_unavailable_error" in answer for answer in answers)
    assert "Traceback" not in one.log
