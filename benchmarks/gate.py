"""Measures what comes before painting: `make bench-gate`.

What is turned away is sent 10,000 times over 1,000 connections, and what lets a request in is compared with a server
that lets everybody in. To compare another switch, add it to SWITCHES.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.figures import Row, publish, ratio_row, taken
from benchmarks.flood import Flooded, flood, post
from benchmarks.machine import describe_machine
from benchmarks.painting import REQUEST_SECONDS, Order, timed_request
from benchmarks.servers import ROOT, gateway

REQUESTS = 10_000
AT_ONCE = 1_000
THREADS = 1
GROWTH_MIB = 8.0
"""What a server may hold more after a flood than after one before it."""
PAIRS = 100
STEPS = 4
DEARER = 1.03
"""What being let in may cost, at the median, on a picture of few steps: a GPU paints one of SDXL in about as long."""
PATH = "/v1/images/generations"
ASKED = json.dumps({"prompt": "a", "size": "64x64", "steps": 1}).encode()

Environment = Mapping[str, str]
BARE: Environment = {"SDXL_GATEWAY__AUDIT__ENABLED": "false"}
SWITCHES: Mapping[str, Environment] = {
    "limits": {
        f"SDXL_GATEWAY__TENANT_DEFAULTS__{name}": str(10**12)
        for name in ("REQUESTS_PER_MINUTE", "IMAGES_PER_MINUTE", "PIXEL_STEPS_PER_DAY", "CONCURRENT_JOBS", "MAX_N")
    },
    "audit": {"SDXL_GATEWAY__AUDIT__ENABLED": "true"},
    "safety (words)": {"SDXL_GATEWAY__SAFETY__DENY_WORDS": "gore,nud*,some phrase of words"},
}
"""By name, what has to stand in the environment for it to be on; all are on beside a key of the store."""
CROWDED: Environment = {"SDXL_GATEWAY__SERVER__MAX_CONNECTIONS_PER_ADDRESS": "0"}


@dataclass(frozen=True, slots=True)
class Gated:
    """A server that runs, a key that it knows, and its process."""

    url: str
    key: str
    data: Path

    @property
    def resident_mib(self) -> float:
        """Of memory, the engine's left out."""
        pid = (self.data / "lock").read_text("ascii")
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@contextmanager
def gated(environment: Environment, *limits: str) -> Iterator[Gated]:
    """With a key of the store, of these limits."""
    with TemporaryDirectory() as folder:
        settings = {"SDXL_GATEWAY__DATA_DIRECTORY": folder, **environment}
        with gateway(THREADS, ROOT, **settings, SDXL_GATEWAY__AUTH__API_KEYS="bench") as url:
            yield Gated(url, _made(settings, limits), Path(folder))


def _made(settings: Environment, limits: tuple[str, ...]) -> str:
    words = [word for limit in limits for word in ("--limit", limit)]
    command = [sys.executable, "-m", "sdxl_gateway", "keys", "create", "--tenant", "bench", *words]
    environment = {**environ, "PYTHONPATH": str(ROOT / "src"), **settings}
    return subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def flood_rows(requests: int, at_once: int) -> Iterator[Row]:
    """Bad keys, and a good one that has taken all it may: every request is answered, and nothing stays of it."""
    with gated({**BARE, **CROWDED}, "requests_per_minute=1") as server:
        _let_in_at_last(server)
        for name, key in (("bad keys", "sk-sdxl-wrong"), ("requests over the limit", server.key)):
            request = post(PATH, ASKED, authorization=f"Bearer {key}")
            flood(server.url, request, max(requests // 5, at_once), at_once)
            before = server.resident_mib
            found = flood(server.url, request, requests, at_once)
            yield from _rows(f"{requests} {name}, {at_once} at once", found, server.resident_mib - before)


def _let_in_at_last(server: Gated) -> None:
    """Takes the one request a minute that the key may have, once the server knows it."""
    with httpx.Client(base_url=server.url, headers={"api-key": server.key}, timeout=REQUEST_SECONDS) as client:
        while client.post(PATH, content=ASKED).status_code == 401:
            pass


def _rows(name: str, found: Flooded, grown_mib: float) -> Iterator[Row]:
    told = ", ".join(f"{count} x {status}" for status, count in sorted(found.answers.items()))
    painted = found.answers[200]
    yield Row(f"{name}: unanswered", found.unanswered, 0, True, told, found.answers.total())
    yield Row(f"{name}: answers/s", found.per_second, None, False, f"{painted} painted", found.answers.total())
    yield Row(f"{name}: MiB more than after the flood before", grown_mib, GROWTH_MIB, True, "", 1)


def cost_rows(pairs: int) -> Iterator[Row]:
    """A picture of few steps where everything is on, over one from a server that lets everybody in."""
    everything = {name: told for switch in SWITCHES.values() for name, told in switch.items()}
    with gateway(THREADS, ROOT, **BARE) as bare_url, gated({**BARE, **everything}) as server:
        headers = {"authorization": f"Bearer {server.key}"}
        with (
            httpx.Client(base_url=bare_url, timeout=REQUEST_SECONDS) as bare,
            httpx.Client(base_url=server.url, timeout=REQUEST_SECONDS, headers=headers) as guarded,
        ):
            _warm(guarded)
            timed_request(bare, Order(steps=STEPS))
            orders = [Order(seed=seed, steps=STEPS) for seed in range(pairs)]
            timed = [_pair(guarded, bare, order) for order in orders]
        name = f"{STEPS} steps with a key, {', '.join(SWITCHES)} / without any"
        yield ratio_row(name, DEARER, [on for on, _ in timed], [off for _, off in timed])


def _warm(client: httpx.Client) -> None:
    while client.get("/v1/models").status_code == 401:
        pass
    timed_request(client, Order(steps=STEPS))


def _pair(guarded: httpx.Client, bare: httpx.Client, order: Order) -> tuple[float, float]:
    """Whoever goes first finds the machine as the other one left it, so they take turns."""
    if order.seed % 2:
        return timed_request(guarded, order), timed_request(bare, order)
    off = timed_request(bare, order)
    return timed_request(guarded, order), off


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    asked = parser.parse_args()
    rows = [*taken(flood_rows(asked.requests, asked.at_once)), *taken(cost_rows(asked.pairs))]
    publish(rows, describe_machine(THREADS), "gate.json")


if __name__ == "__main__":
    main()
