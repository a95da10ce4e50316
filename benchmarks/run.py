"""Measures the promises that hold on a CPU, on the demo model: `make bench`, or `python -m benchmarks.run --quick`.

What is compared alternates within one run, and both sides have the same torch threads. All traffic is on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence

import httpx

from benchmarks.figures import Row, p99_row, publish, ratio_row, speedup_row
from benchmarks.machine import describe_machine
from benchmarks.painting import REQUEST_SECONDS, STEPS, BarePipeline, Order, opened, timed_request
from benchmarks.servers import gateway, plain_server

BLENDS = ("demo+outline:0.8", "demo+sunset:0.8", "demo+stripes:0.8", "demo+outline:0.5+sunset:0.5")
CLIENTS = 8
THREADS = 1
FEW_STEPS = 8
"""What distilled checkpoints and few-step LoRAs ask for; the fewer, the more loading costs beside painting."""
HEALTH_PROBES = 300
HEALTH_PAUSE_SECONDS = 0.02


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
        for model, seconds in ((BLENDS[3], ours), ("demo", theirs)):
            timed_request(client, Order(model, seed, steps=1))
            seconds.append(timed_request(client, Order(model, seed)))
    return ratio_row("blend on / off", 1.02, ours, theirs)


def switch_cost(client: httpx.Client, pairs: int) -> Row:
    """(c) A, A, B, B, A, A, ...: each first picture after a switch against the second, which needs none."""
    ours: list[float] = []
    theirs: list[float] = []
    for model in BLENDS[:2]:
        timed_request(client, Order(model, steps=1))
    for turn in range(pairs):
        model = BLENDS[turn % 2]
        ours.append(timed_request(client, Order(model, turn)))
        theirs.append(timed_request(client, Order(model, turn)))
    return ratio_row("alternating two warm blends / repeating one", 1.10, ours, theirs)


def throughput(ours_url: str, theirs_url: str, rounds: int, pictures: int, steps: int) -> Row:
    """(d) Eight clients over four blends, against the server most tutorials build."""
    rates: dict[str, list[float]] = {ours_url: [], theirs_url: []}
    for url in rates:
        asyncio.run(_crowd(url, len(BLENDS), steps=1))
    for _ in range(rounds):
        for url, measured in rates.items():
            measured.append(asyncio.run(_crowd(url, pictures, steps)))
    name = f"8 clients, 4 blends, {steps} steps: pictures/s over a plain server's"
    return speedup_row(name, 2.0, rates[ours_url], rates[theirs_url])


async def _crowd(url: str, pictures: int, steps: int) -> float:
    """Pictures a second when each client asks for its next one as soon as it has the last."""
    orders = iter([Order(BLENDS[i % len(BLENDS)], seed=i, steps=steps) for i in range(pictures)])
    async with httpx.AsyncClient(base_url=url, timeout=REQUEST_SECONDS) as client:
        start = time.perf_counter()
        await asyncio.gather(*(_one_after_another(client, orders) for _ in range(CLIENTS)))
        return pictures / (time.perf_counter() - start)


async def _one_after_another(client: httpx.AsyncClient, orders: Iterator[Order]) -> None:
    """All clients share `orders`; each takes the next one."""
    for order in orders:
        opened(await client.post("/v1/images/generations", json=order.body()))


def health(threads: int, probes: int) -> Row:
    """(e) /healthz while every core paints."""
    with gateway(threads) as url:
        seconds = asyncio.run(_probe_while_painting(url, probes))
    return p99_row(f"/healthz p99 in seconds while {threads} cores paint", 0.1, seconds)


async def _probe_while_painting(url: str, probes: int) -> list[float]:
    async with httpx.AsyncClient(base_url=url, timeout=REQUEST_SECONDS) as client:
        painters = [asyncio.create_task(_paint_on(client, model)) for model in BLENDS]
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


def measure(pairs: int, rounds: int, pictures: int, probes: int) -> Iterator[Row]:
    """Each row as soon as it is known."""
    yield health(os.cpu_count() or 1, probes)
    with gateway(THREADS) as url, httpx.Client(base_url=url, timeout=REQUEST_SECONDS) as client:
        for take in _SEQUENTIAL:
            yield take(client, pairs)
        with plain_server(THREADS) as plain_url:
            for steps in (STEPS, FEW_STEPS):
                yield throughput(url, plain_url, rounds, pictures, steps)


_SEQUENTIAL: Sequence[Callable[[httpx.Client, int], Row]] = (overhead, blend_cost, switch_cost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few samples of each, to see that everything runs")
    quick = parser.parse_args().quick
    rows: list[Row] = []
    for row in measure(2, 1, 8, 50) if quick else measure(12, 3, 24, HEALTH_PROBES):
        print(f"{row.name}: {row.figure:.3f} ({row.detail})", flush=True)
        rows.append(row)
    publish(rows, describe_machine(THREADS), "quick.json" if quick else "cpu.json")


if __name__ == "__main__":
    main()
