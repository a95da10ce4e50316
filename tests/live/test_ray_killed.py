"""Two gateways with one Redis before two replicas of a Ray cluster: each of these is killed under load and returns.

Clients ask as they would through a load balancer: where one gateway does not answer, or not now, they ask the other.
"""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.kit.loopback import loopback
from tests.kit.ray_cluster import engine_actors
from tests.kit.redis_server import MISSING, RedisServer, redis_server
from tests.kit.servers import TROUBLE, Server, until
from tests.kit.topologies import gateway_starter, ready_engines

pytestmark = [pytest.mark.full, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]
GENERATE = "/v1/images/generations"
PICTURE = {"model": "demo+sunset:0.5", "prompt": "a red circle", "size": "64x64", "steps": 4}
SYNCHRONOUS, STORING, SEEDS = 4, 2, 3
PATIENCE_SECONDS = 240.0
ORDERS = ("replica", "gateway", "redis"), ("redis", "replica", "gateway"), ("gateway", "redis", "replica")
NOT_NOW = {409, 429, 503}
"""Another has the key in hand; the line is full; whoever would know is not reached."""


@dataclass
class Clients:
    """What asks whichever of the gateways is next in turn, and goes on to the next where it is not served.

    `pictures` are what was answered to each Idempotency-Key, `accepted` the jobs; `wrong` is any other answer, and
    `waiting` are the keys of requests that have none yet.
    """

    urls: list[str]
    pictures: dict[str, tuple[int, str]] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._turns = itertools.count()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Until they are stopped."""
        self._stopped.clear()
        works = [self._paint] * SYNCHRONOUS + [self._store] * STORING
        self._threads = [threading.Thread(target=self._again_and_again, args=[work]) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Nothing more is asked for; whoever has asked was answered."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @property
    def served(self) -> int:
        """Requests that were."""
        return len(self.pictures) + len(self.accepted)

    def ask(self, method: str, path: str, **said: Any) -> httpx.Response:
        """Its answer, wherever that came from. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                answer = loopback.request(method, self._next() + path, timeout=60, **said)
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.status_code not in NOT_NOW:
                return answer
            time.sleep(min(float(answer.headers["retry-after"]), 1.0))
        raise TimeoutError(f"{method} {path} was not answered")

    def _next(self) -> str:
        return self.urls[next(self._turns) % len(self.urls)]

    def _again_and_again(self, work: Callable[[int], None]) -> None:
        for number in itertools.count():
            if self._stopped.is_set():
                return
            try:
                work(number % SEEDS)
            except Exception as problem:
                self.wrong.append(repr(problem))

    def _paint(self, seed: int) -> None:
        key = uuid4().hex
        answer = self._ask_once(key, seed)
        if self._is(200, answer):
            self.pictures[key] = seed, picture(answer.json())

    def _store(self, seed: int) -> None:
        answer = self._ask_once(uuid4().hex, seed, prefer="respond-async")
        if self._is(202, answer):
            self.accepted[answer.json()["id"]] = seed
        self._stopped.wait(0.5)

    def _ask_once(self, key: str, seed: int, **headers: str) -> httpx.Response:
        self.waiting.add(key)
        try:
            return self.ask("POST", GENERATE, json=asked(seed), headers={"idempotency-key": key, **headers})
        finally:
            self.waiting.discard(key)

    def _is(self, status: int, answer: httpx.Response) -> bool:
        if answer.status_code != status:
            self.wrong.append(f"{answer.status_code} {answer.text}")
        return answer.status_code == status


def asked(seed: int) -> dict[str, Any]:
    return {**PICTURE, "seed": seed, "response_format": "b64_json"}


def picture(reply: dict[str, Any]) -> str:
    (one,) = pictures(reply)
    return one


def pictures(reply: dict[str, Any]) -> list[str]:
    """None where another gateway has them, and Redis came back without its copies."""
    assert len(reply["data"]) == 1
    return [str(one["b64_json"]) for one in reply["data"] if "b64_json" in one]


@dataclass
class Ground:
    """All that can be killed, and those who ask meanwhile. `golden` are the pictures of each seed."""

    start: Callable[[int], Server]
    both: list[Server]
    redis: RedisServer
    clients: Clients
    golden: list[str]

    def kill(self, what: str) -> None:
        """At once, as by a power cut, while others ask; it returns, and whoever asked a gateway is answered."""
        if what == "replica":
            os.kill(engine_actors()[0], signal.SIGKILL)
            until(lambda: min(map(ready_engines, self.both)) < 2, every=0.2)
            self.more(6)
            until(lambda: min(map(ready_engines, self.both)) == 2, seconds=300, every=0.5)
        elif what == "gateway":
            self.both[0].process.kill()
            self.both[0].process.wait()
            asked_before = set(self.clients.waiting)
            self.more(6)
            self.both[0] = self.start(0)
            self.clients.urls[0] = self.both[0].url
            until(lambda: asked_before.isdisjoint(self.clients.waiting), seconds=PATIENCE_SECONDS, every=0.2)
        else:
            self.redis.stop()
            self.more(6)
            self.redis.start()

    def more(self, count: int) -> None:
        """Until so many more requests were served."""
        enough = self.clients.served + count
        until(lambda: self.clients.served >= enough, seconds=PATIENCE_SECONDS, every=0.2)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-"))
        redis = stack.enter_context(redis_server(Path(folder)))
        shared = {"redis__url": redis.url, "redis__timeout_seconds": "1.0", "redis__lease_seconds": "3.0"}
        shared |= {"auth__pepper": "p" * 32, "auth__allow_anonymous": "true", "delivery__url_key": "u" * 32}
        shared["engine__max_lanes"] = "1"  # a picture painted beside others differs by a rounding
        start = stack.enter_context(gateway_starter(tmp_path_factory.mktemp("killed"), 2, **shared))
        both = [start(number) for number in range(2)]
        until(lambda: min(map(ready_engines, both)) == 2, seconds=300, every=0.5)
        clients = Clients([one.url for one in both])
        golden = [picture(clients.ask("POST", GENERATE, json=asked(seed)).json()) for seed in range(SEEDS)]
        yield Ground(start, both, redis, clients, golden)


def ended(clients: Clients, url: str, accepted: Sequence[str]) -> dict[str, dict[str, Any]]:
    """All these jobs, once they are over, as one gateway tells of them."""

    def over(job_id: str) -> dict[str, Any]:
        answer = loopback.get(f"{url}/v1/jobs/{job_id}", timeout=60)
        told = dict(answer.json()) if answer.status_code == 200 else {}
        return told if told.get("state") in {"completed", "failed", "cancelled"} else {}

    return {job_id: until(partial(over, job_id), every=0.2) for job_id in accepted}


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_whatever_is_killed_all_that_was_accepted_is_painted_and_all_are_answered(
    ground: Ground, order: tuple[str, ...]
) -> None:
    clients = ground.clients
    clients.start()
    try:
        for what in order:
            ground.more(6)
            ground.kill(what)
        ground.more(6)
    finally:
        clients.stop()
    assert clients.wrong == []
    assert all(found == ground.golden[seed] for seed, found in clients.pictures.values())
    jobs = [ended(clients, url, list(clients.accepted)) for url in clients.urls]
    for job_id, seed in clients.accepted.items():
        told = [of_one[job_id] for of_one in jobs]
        assert {one["state"] for one in told} == {"completed"}
        assert len({one["finished_at"] for one in told}) == 1
        assert {found for one in told for found in pictures(one["result"])} == {ground.golden[seed]}
    for url in clients.urls:
        listed = Counter(every_job(url))
        assert set(listed.values()) == {1}
        assert listed.keys() == clients.accepted.keys(), "a request that was sent twice is one job"
    assert [line for line in TROUBLE.findall(ground.both[0].log) if "] redis: " not in line] == []


def every_job(url: str) -> Iterator[str]:
    """The ids that are listed there."""
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = loopback.get(f"{url}/v1/jobs", params={"limit": 100, **after}, timeout=60).json()
        yield from (job["id"] for job in page["data"])
