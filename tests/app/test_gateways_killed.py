"""Of two gateways one is killed amid accepted jobs, or their Redis is: each job ends once, and whoever asks is told."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.fake_server import started
from tests.kit.killing import ASKED, ASYNC, GENERATE, Receiver, receiving
from tests.kit.redis_server import MISSING, RedisServer, redis_server
from tests.kit.servers import until

pytestmark = [pytest.mark.full, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]
SENDERS = 3
LEASE_SECONDS = 3.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="redis-") as folder, redis_server(Path(folder)) as server:
        server.timeout_seconds = 1.0
        yield server


def sections(redis: RedisServer) -> dict[str, Any]:
    given = redis.sections
    return given | {"redis": given["redis"].model_copy(update={"lease_seconds": LEASE_SECONDS})}


class Clients:
    """Threads that have jobs painted by one gateway and follow each to its end at another, until they are told to stop
    or theirs is gone. `ends` are the last events they were told."""

    def __init__(self, here: str, there: str, receiver: Receiver) -> None:
        self.accepted: list[str] = []
        self.ends: dict[str, str] = {}
        self.refused: list[str] = []
        self._here, self._there = here, there
        self._body = {**ASKED, "webhook_url": f"http://{receiver.host}/told"}
        self._stopped = threading.Event()
        self._followers: list[threading.Thread] = []
        self._senders = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for thread in self._senders:
            thread.start()

    def stop(self) -> list[str]:
        """No more are asked for; the ids of all that were accepted, each told of to its end."""
        self._stopped.set()
        for threads in (self._senders, self._followers):
            for thread in threads:
                thread.join()
        return self.accepted

    def _send(self) -> None:
        with suppress(httpx.TransportError), httpx.Client(base_url=self._here, timeout=60) as client:
            while not self._stopped.is_set():
                answer = client.post(GENERATE, json=self._body, headers=ASYNC)
                if answer.status_code == 202:
                    self.accepted.append(answer.json()["id"])
                    self._follow(answer.json()["id"])
                else:
                    self.refused.append(answer.text)
                self._stopped.wait(0.05)

    def _follow(self, job_id: str) -> None:
        thread = threading.Thread(target=self._to_its_end, args=[job_id])
        self._followers.append(thread)
        thread.start()

    def _to_its_end(self, job_id: str) -> None:
        """As a client does: it comes back where a stream breaks off, or where nobody can tell for a while."""
        with httpx.Client(base_url=self._there, timeout=120) as client:
            while job_id not in self.ends:
                with suppress(httpx.TransportError), client.stream("GET", f"/v1/jobs/{job_id}/events") as events:
                    if events.status_code == 200:
                        names = [line for line in events.iter_lines() if line.startswith("event: ")]
                        if names and names[-1].endswith(("completed", "failed", "cancelled")):
                            self.ends[job_id] = names[-1].removeprefix("event: job.")
                            return
                time.sleep(0.2)


def more(clients: Sequence[Clients], count: int) -> None:
    """Until so many more jobs were accepted."""
    enough = sum(len(one.accepted) for one in clients) + count
    until(lambda: sum(len(one.accepted) for one in clients) >= enough)


def jobs_at(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    with httpx.Client(base_url=url, timeout=60) as client:
        while page["has_more"]:
            after = {"after": page["last_id"]} if page["last_id"] else {}
            page = client.get("/v1/jobs", params={"limit": 100, **after}).json()
            found += page["data"]
    return found


def over_at(url: str, accepted: Sequence[str]) -> list[dict[str, Any]]:
    """All jobs, if these are among them, and none is to go on. One list says so: a job that is taken over meanwhile
    waits anew."""
    found = jobs_at(url)
    unfinished = [job for job in found if job["finished_at"] is None]
    return found if not unfinished and {job["id"] for job in found} >= set(accepted) else []


def check(urls: list[str], accepted: list[str], ends: dict[str, str]) -> list[str]:
    """Every gateway tells the same of every job, and each has one end. Their ids; one whose answer was on its way when
    its gateway was killed may be there too."""
    lists = [until(partial(over_at, url, accepted), every=0.2) for url in urls]
    ids = Counter(job["id"] for job in lists[0])
    assert set(ids.values()) == {1}
    assert {job["state"] for job in lists[0]} == {"completed"}
    for other in lists[1:]:
        assert {(job["id"], job["finished_at"]) for job in other} == {
            (job["id"], job["finished_at"]) for job in lists[0]
        }
    assert {job: ends[job] for job in accepted} == dict.fromkeys(accepted, "completed")
    return list(ids)


def shown(url: str, job_id: str) -> int:
    """Of the address of its picture, the status."""
    (picture,) = httpx.get(f"{url}/v1/jobs/{job_id}", timeout=60).json()["result"]["data"]
    return httpx.get(picture["url"], timeout=60).status_code


def check_webhooks(receiver: Receiver, jobs: list[str]) -> None:
    """One id for each; of what ended at a gateway that was killed, when it is back."""
    until(lambda: receiver.ids.keys() >= set(jobs))
    assert {len(one) for one in receiver.ids.values()} == {1}


def test_a_gateway_is_killed_and_returns(redis: RedisServer, tmp_path: Path) -> None:
    """Its jobs end at the other, whose callers hear of it; when it is back it knows them as the other tells of them."""
    shared = sections(redis)
    with receiving() as receiver, started(tmp_path / "b", receiver.host, **shared) as (b, _):
        with started(tmp_path / "a", receiver.host, **shared) as (a, server):
            clients = Clients(a, b, receiver)
            until(lambda: len(clients.accepted) >= 60)
            server.kill()
        accepted = clients.stop()
        assert len(accepted) >= 60
        for job in check([b], accepted, clients.ends):
            assert shown(b, job) == 200
        with started(tmp_path / "a", receiver.host, **shared) as (a, _):
            check_webhooks(receiver, check([b, a], accepted, clients.ends))


def test_redis_is_killed_and_returns_empty(redis: RedisServer, tmp_path: Path) -> None:
    """Twice: each gateway accepts and paints on meanwhile, and none takes over anything."""
    shared = sections(redis)
    with (
        receiving() as receiver,
        started(tmp_path / "a", receiver.host, **shared) as (a, _),
        started(tmp_path / "b", receiver.host, **shared) as (b, _),
    ):
        clients = [Clients(a, b, receiver), Clients(b, a, receiver)]
        for _ in range(2):
            more(clients, 20)
            redis.stop()
            more(clients, 20)
            redis.start()
        accepted = [job for one in clients for job in one.stop()]
        assert [one.refused for one in clients] == [[], []]
        ends = clients[0].ends | clients[1].ends
        check_webhooks(receiver, check([a, b], accepted, ends))
        told = [httpx.get(f"{url}/metrics").text for url in (a, b)]
        assert not any('outcome="taken_over"' in one for one in told)
