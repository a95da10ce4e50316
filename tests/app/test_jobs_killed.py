"""Server and engine are killed while accepted jobs and a batch are painted: in the end each has one result and one
webhook, and none is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.fake_server import engines, started
from tests.kit.killing import ASKED, ASYNC, GENERATE, Receiver, receiving
from tests.kit.loopback import loopback
from tests.kit.servers import until

SENDERS = 4


class Senders:
    """Several threads that ask for jobs until so many were accepted or the server is gone."""

    def __init__(self, url: str, count: int, receiver: Receiver) -> None:
        self.accepted: list[str] = []
        self._url = url
        self._body = {**ASKED, "webhook_url": f"http://{receiver.host}/told"}
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
                answer = client.post(GENERATE, json=self._body, headers=ASYNC)
                assert answer.status_code == 202, answer.text
                self.accepted.append(answer.json()["id"])


@dataclass
class Found:
    """What was accepted in all rounds, and what there is once nothing is left to do; `answers` are the batch's."""

    rounds: int
    accepted: list[str] = field(default_factory=list)
    batch_id: str = ""
    batch: dict[str, Any] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    webhooks: dict[str, set[str]] = field(default_factory=dict)

    @property
    def alone(self) -> set[str]:
        """The ids of all jobs there are but the batch's, also of those whose answer reached nobody."""
        return {job["id"] for job in self.jobs if job["batch"] is None}


def killed(folder: Path, rounds: int, count: int, lines: int, chance: random.Random) -> Found:
    """So many servers in one folder are killed amid `count` jobs each, the last amid a batch of `lines` as well, of
    which each of its two engines, one of them killed, ends a quarter at most."""
    found = Found(rounds)
    with receiving() as receiver:
        for number in range(1, rounds + 1):
            few = lines // 4 if number == rounds else None
            with started(folder, receiver.host, owls=few) as (url, server):
                until(partial(_idle, url))
                if number == rounds:
                    found.batch_id = _batch(url, lines)
                senders = Senders(url, count, receiver)
                _kill_an_engine(server, chance)
                if number == rounds:
                    _half_way(url, found.batch_id, lines)
                server.kill()
                found.accepted += senders.wait()
        with started(folder, receiver.host) as (url, _):
            found.accepted += Senders(url, rounds * count - len(found.accepted), receiver).wait()
            until(partial(_over, url, found.batch_id))
            until(partial(_idle, url))
            _look(url, found)
            until(lambda: receiver.ids.keys() >= found.alone)
        found.webhooks = dict(receiver.ids)
    return found


def _kill_an_engine(server: BaseProcess, chance: random.Random) -> None:
    """At a moment nobody knows, and then a while."""
    time.sleep(chance.uniform(0.05, 0.7))
    for engine in engines(server):
        os.kill(engine, signal.SIGKILL)
    time.sleep(chance.uniform(0.0, 0.7))


def _half_way(url: str, batch_id: str, lines: int) -> None:
    until(lambda: _painted(url, batch_id) >= lines // 4)
    assert _painted(url, batch_id) < lines


def _look(url: str, found: Found) -> None:
    found.jobs = _all_jobs(url)
    found.batch = _get(url, f"/v1/batches/{found.batch_id}")
    found.answers = _lines(url, found.batch["output_file_id"])


def _batch(url: str, lines: int) -> str:
    """The id of a batch of slower pictures."""
    body = {**ASKED, "prompt": "an owl step-seconds=0.04"}
    named = ({"custom_id": f"{line}", "method": "POST", "url": GENERATE, "body": body} for line in range(lines))
    text = "\n".join(map(json.dumps, named))
    with httpx.Client(base_url=url, timeout=60) as client:
        file = client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", text)}).json()
        asked = {"input_file_id": file["id"], "endpoint": GENERATE, "completion_window": "24h"}
        made: str = client.post("/v1/batches", json=asked).json()["id"]
    return made


def _get(url: str, path: str, **query: Any) -> Any:
    return loopback.get(f"{url}{path}", params=query, timeout=60).json()


def _over(url: str, batch_id: str) -> bool:
    return _get(url, f"/v1/batches/{batch_id}")["completed_at"] is not None


def _painted(url: str, batch_id: str) -> int:
    return int(_get(url, f"/v1/batches/{batch_id}")["request_counts"]["completed"])


def _lines(url: str, file_id: str) -> list[dict[str, Any]]:
    text = loopback.get(f"{url}/v1/files/{file_id}/content", timeout=60).text
    return [json.loads(line) for line in text.splitlines()]


def _idle(url: str) -> bool:
    return not any(_get(url, "/v1/jobs", state=state, limit=1)["data"] for state in ("queued", "in_progress"))


def _all_jobs(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"has_more": True}
    with httpx.Client(base_url=url, timeout=60) as client:
        while page["has_more"]:
            after = {"after": page["last_id"]} if "last_id" in page else {}
            page = client.get("/v1/jobs", params={"limit": 100, **after}).json()
            found += page["data"]
        return [client.get(f"/v1/jobs/{job['id']}").json() for job in found]


def check(found: Found, lines: int) -> None:
    """Nothing is lost and nothing is there twice. A job whose answer was on its way may be there too."""
    ids = Counter(job["id"] for job in found.jobs if job["batch"] is None)
    assert set(found.accepted) <= ids.keys()
    assert set(ids.values()) == {1}
    assert len(ids) <= len(found.accepted) + SENDERS * found.rounds
    assert {job["state"] for job in found.jobs} == {"completed"}, [job["error"] for job in found.jobs if job["error"]]
    pictures = Counter(one["id"] for job in found.jobs for one in job["result"]["data"])
    assert len(pictures) == len(found.jobs)
    assert set(pictures.values()) == {1}
    _check_webhooks(found)
    _check_batch(found, lines)


def _check_webhooks(found: Found) -> None:
    """One id for each job; what a killed server could not note may have come again, under the id it had."""
    assert found.webhooks.keys() == found.alone
    assert {len(ids) for ids in found.webhooks.values()} == {1}
    assert len(set.union(*found.webhooks.values())) == len(found.alone)


def _check_batch(found: Found, lines: int) -> None:
    names = {f"{line}" for line in range(lines)}
    assert found.batch["request_counts"] == {"total": lines, "completed": lines, "failed": 0}
    for told in (found.answers, [job for job in found.jobs if job["batch"] == found.batch_id]):
        assert Counter(one["custom_id"] for one in told) == Counter(names)


def test_a_few_jobs(tmp_path: Path) -> None:
    check(killed(tmp_path, 3, 20, 20, random.Random(0)), 20)


@pytest.mark.full
def test_three_hundred_jobs_in_each_of_twenty_rounds(tmp_path: Path) -> None:
    check(killed(tmp_path, 20, 300, 1000, random.Random(1)), 1000)
