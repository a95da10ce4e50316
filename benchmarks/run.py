"""Measures the promises that hold on a CPU, on the demo model: `make bench`, or `python -m benchmarks.run --quick`.

What is compared alternates within one run, and both sides have the same torch threads. All traffic is on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.checkpoints import checkpoint_rows
from benchmarks.engines import Place
from benchmarks.figures import Row, p99_row, publish, ratio_row, seconds_row, taken
from benchmarks.loras import demo_rows
from benchmarks.machine import describe_machine
from benchmarks.painting import REQUEST_SECONDS, SIDE, STEPS, BarePipeline, Order, opened, timed_request
from benchmarks.servers import gateway, plain_server
from benchmarks.traffic import FOUR_BLENDS, few_blends_rows, mixed_rows
from sdxl_gateway.config import DEMO_MODEL

THREADS = 1
HEALTH_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Effort:
    """How often each thing is done; `files` is how many LoRAs lie in the folder that is listed."""

    pairs: int
    rounds: int
    pictures: int
    probes: int
    files: int


QUICK = Effort(pairs=2, rounds=1, pictures=8, probes=50, files=1000)
WHOLE = Effort(pairs=12, rounds=3, pictures=24, probes=300, files=10_000)


def overhead(client: httpx.Client, pairs: int) -> Row:
    """(a) A request against the bare pipeline call of the same recipe."""
    bare = BarePipeline(THREADS)
    bare.timed(Order())
    timed_request(client, Order())
    ours: list[float] = []
    theirs: list[float] = []
    for seed in range(pairs):
        ours.append(timed_request(client, Order(seed=seed)))
        theirs.append(bare.timed(Order(seed=seed)))
    return ratio_row("HTTP request / bare diffusers call", 1.05, ours, theirs)


def blend_cost(client: httpx.Client, pairs: int) -> Row:
    """(b) A picture with a blend on against one without; the switch itself falls into an untimed picture before."""
    ours: list[float] = []
    theirs: list[float] = []
    for seed in range(pairs):
        for model, seconds in ((FOUR_BLENDS[3], ours), ("demo", theirs)):
            timed_request(client, Order(model, seed, steps=1))
            seconds.append(timed_request(client, Order(model, seed)))
    return ratio_row("blend on / off", 1.02, ours, theirs)


def switch_cost(client: httpx.Client, pairs: int) -> Row:
    """(c) A, A, B, B, A, A, ...: each first picture after a switch against the second, which needs none."""
    ours: list[float] = []
    theirs: list[float] = []
    for model in FOUR_BLENDS[:2]:
        timed_request(client, Order(model, steps=1))
    for turn in range(pairs):
        model = FOUR_BLENDS[turn % 2]
        ours.append(timed_request(client, Order(model, turn)))
        theirs.append(timed_request(client, Order(model, turn)))
    return ratio_row("alternating two warm blends / repeating one", 1.10, ours, theirs)


def all_cores_rows(cores: int, pictures: int, probes: int) -> Iterator[Row]:
    """One picture after another, and /healthz while they are painted, with every core at work."""
    with gateway(cores) as url:
        with httpx.Client(base_url=url, timeout=REQUEST_SECONDS) as client:
            timed_request(client, Order())
            seconds = [timed_request(client, Order(seed=seed)) for seed in range(pictures)]
        yield seconds_row(f"a {SIDE}x{SIDE} picture of {STEPS} steps on {cores} cores, seconds", 1.0, seconds)
        probed = asyncio.run(_probe_while_painting(url, probes))
    yield p99_row(f"/healthz p99 in seconds while {cores} cores paint", 0.1, probed)


async def _probe_while_painting(url: str, probes: int) -> list[float]:
    async with httpx.AsyncClient(base_url=url, timeout=REQUEST_SECONDS) as client:
        painters = [asyncio.create_task(_paint_on(client, model)) for model in FOUR_BLENDS]
        seconds = [await _timed_health(client) for _ in range(probes)]
        for painter in painters:
            painter.cancel()
        await asyncio.gather(*painters, return_exceptions=True)
    return seconds


async def _paint_on(client: httpx.AsyncClient, model: str) -> None:
    while True:
        opened(await client.post("/v1/images/generations", json=Order(model).body()))


async def _timed_health(client: httpx.AsyncClient) -> float:
    await asyncio.sleep(HEALTH_PAUSE_SECONDS)
    start = time.perf_counter()
    (await client.get("/healthz")).raise_for_status()
    return time.perf_counter() - start


def measure(effort: Effort) -> Iterator[Row]:
    """Each row as soon as it is known."""
    yield from demo_rows(THREADS, effort.pairs, effort.files)
    with TemporaryDirectory() as data:
        yield from checkpoint_rows("demo model", DEMO_MODEL, Path(data), Place(threads=THREADS), effort.pairs)
    yield from all_cores_rows(os.cpu_count() or 1, effort.pairs, effort.probes)
    with gateway(THREADS) as url:
        with httpx.Client(base_url=url, timeout=REQUEST_SECONDS) as client:
            for take in _SEQUENTIAL:
                yield take(client, effort.pairs)
        with plain_server(THREADS) as plain_url, plain_server(THREADS, "--keep-loaded") as kept_url:
            yield from few_blends_rows(url, plain_url, effort.rounds, effort.pictures)
            yield from mixed_rows(url, plain_url, kept_url, effort.rounds, effort.pictures)


_SEQUENTIAL: Sequence[Callable[[httpx.Client, int], Row]] = (overhead, blend_cost, switch_cost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few samples of each, to see that everything runs")
    quick = parser.parse_args().quick
    rows = taken(measure(QUICK if quick else WHOLE))
    publish(rows, describe_machine(THREADS), "quick.json" if quick else "cpu.json")


if __name__ == "__main__":
    main()
