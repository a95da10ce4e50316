"""Server and engine are killed while accepted jobs are painted: in the end each has one result, and none is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.servers import free_port, is_alive, until

GENERATE = "/v1/images/generations"
ASKED = {"prompt": "a fox step-seconds=0.01", "steps": 2, "size": "64x64", "response_format": "url"}
ASYNC = {"prefer": "respond-async"}
SENDERS = 4


@contextmanager
def started(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server with a fake engine, ready; killed at the end where it was not before."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.kit.fake_server", str(folder), str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _ready(url))
        yield url, process
    finally:
        process.kill()
        process.wait()


def _ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz").status_code == 200
    return False


def engines(server: int) -> list[int]:
    """Of the engine processes that this server started and that live."""
    return [pid for pid in _children(server) if b"fake_engine_process" in _command(pid) and is_alive(pid)]


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


class Senders:
    """Several threads that ask for jobs until so many were accepted or the server is gone."""

    def __init__(self, url: str, count: int) -> None:
        self.accepted: list[str] = []
        self._url = url
        self._left = iter(range(count))
        self._threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def wait(self) -> list[str]:
        """The ids of all that were accepted."""
        for thread in self._threads:
            thread.join()
        return self.accepted

    def _send(self) -> None:
        with suppress(httpx.TransportError), httpx.Client(base_url=self._url, timeout=60) as client:
            for _ in self._left:
                answer = client.post(GENERATE, json=ASKED, headers=ASYNC)
                assert answer.status_code == 202, answer.text
                self.accepted.append(answer.json()["id"])


def one_round(folder: Path, count: int, chance: random.Random) -> tuple[list[str], list[dict[str, Any]]]:
    """What was accepted, and every job there is once nothing is left to do."""
    with started(folder) as (url, process):
        senders = Senders(url, count)
        time.sleep(chance.uniform(0.05, 1.0))
        for engine in engines(process.pid):
            os.kill(engine, signal.SIGKILL)
        time.sleep(chance.uniform(0.0, 1.0))
        process.kill()
        accepted = senders.wait()
    with started(folder) as (url, _):
        accepted += Senders(url, count - len(accepted)).wait()
        until(lambda: not _left(url))
        return accepted, _all_jobs(url)


def _left(url: str) -> bool:
    states = ("queued", "in_progress")
    return any(httpx.get(f"{url}/v1/jobs", params={"state": state, "limit": 1}).json()["data"] for state in states)


def _all_jobs(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        page: dict[str, Any] = {"has_more": True, "last_id": None}
        while page["has_more"]:
            after = {} if page["last_id"] is None else {"after": page["last_id"]}
            page = client.get("/v1/jobs", params={"limit": 100, **after}).json()
            found += page["data"]
        return [client.get(f"/v1/jobs/{job['id']}").json() for job in found]


def check(accepted: list[str], jobs: list[dict[str, Any]]) -> None:
    """Nothing is lost and nothing is there twice. A job whose answer was on its way may be there too."""
    ids = Counter(job["id"] for job in jobs)
    assert set(accepted) <= ids.keys()
    assert set(ids.values()) == {1}
    assert len(ids) <= len(accepted) + SENDERS
    assert {job["state"] for job in jobs} == {"completed"}, [job["error"] for job in jobs if job["error"]]
    pictures = Counter(one["id"] for job in jobs for one in job["result"]["data"])
    assert len(pictures) == len(jobs)
    assert set(pictures.values()) == {1}


@pytest.mark.parametrize("number", range(3))
def test_a_few_jobs(tmp_path: Path, number: int) -> None:
    check(*one_round(tmp_path, 20, random.Random(number)))


@pytest.mark.full
@pytest.mark.parametrize("number", range(20))
def test_three_hundred_jobs(tmp_path: Path, number: int) -> None:
    check(*one_round(tmp_path, 300, random.Random(number)))
