"""A server whose output nobody reads answers as ever, and ends when it is told to; who reads late finds everything."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.kit.loopback import loopback
from tests.kit.servers import server

GENERATE = "/v1/images/generations"
REFUSED = {"prompt": "a red circle", "size": "1x1"}
PAINTED = {"prompt": "a red circle", "steps": 1}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Takes 4 KiB: some twenty lines."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    os.close(reading)


def test_two_hundred_answers_into_a_pipe_that_nobody_reads(tmp_path: Path, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    found: list[bytes] = []

    def read() -> None:
        while piece := os.read(reading, 65536):
            found.append(piece)

    reader = threading.Thread(target=read)
    with server(tmp_path, writing) as one:
        os.close(writing)
        with httpx.Client(base_url=one.url, timeout=60) as http:
            statuses = [http.post(GENERATE, json=REFUSED).status_code for _ in range(200)]
            painted = http.post(GENERATE, json=PAINTED).status_code
        dropped = one.metric("sdxl_gateway_log_lines_dropped_total")
        reader.start()
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(timeout=60)
    reader.join(60)
    assert (statuses, painted, dropped) == ([400] * 200, 200, 0)
    log = b"".join(found).decode()
    assert log.count("answered") == 201
    assert "Finished server process" in log


def test_an_unread_server_ends_all_the_same(tmp_path: Path, pipe: tuple[int, int]) -> None:
    with server(tmp_path, pipe[1]) as one:
        os.close(pipe[1])
        for _ in range(60):
            loopback.post(f"{one.url}{GENERATE}", json=REFUSED, timeout=60)
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(timeout=60)
    assert one.process.returncode in (0, -signal.SIGTERM)
