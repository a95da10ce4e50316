"""Measures what the way to an engine costs: to a process of this machine, and to a replica of a Ray cluster on it.

`python -m benchmarks.hops` gives both the same jobs in turn, of one step that takes no time: small pictures, and
others of four megapixels (12.6 MB). Figures go to benchmarks/results/hops.json.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.figures import Row, publish, ratio_row, seconds_row, taken
from benchmarks.machine import describe_machine
from benchmarks.small_cluster import COMMAND, engine_process, small_cluster
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.backends.ray.backend import RayBackend
from sdxl_gateway.core.events import Finished
from sdxl_gateway.core.ports import Backend
from tests.kit.jobs import sized_job

SIDES = {"small picture": 64, "picture of 4 megapixels": 2048}
PATIENCE_SECONDS = 120.0
WARM_UP = 3


async def job_seconds(backend: Backend, side: int) -> float:
    """From giving a job to its end. Raises RuntimeError where it fails."""
    begun, last = perf_counter(), None
    async for event in await backend.submit(sized_job(side)):
        last = event
    if not isinstance(last, Finished):
        raise RuntimeError(f"no picture: {last}")
    return perf_counter() - begun


async def compare(local: Backend, remote: Backend, pairs: dict[str, int]) -> Iterator[Row]:
    """Rows of both, who are given jobs in turn: what slows the machine slows both. `pairs` are for each of SIDES."""
    rows: list[Row] = []
    for what, side in SIDES.items():
        near, far = [], []
        for turn in range(WARM_UP + pairs[what]):
            both = await job_seconds(local, side), await job_seconds(remote, side)
            if turn >= WARM_UP:
                near.append(both[0])
                far.append(both[1])
        rows += rows_of(what, near, far)
    return iter(rows)


def rows_of(what: str, near: list[float], far: list[float]) -> Iterator[Row]:
    """Both sides, the median of what the one takes longer, and the ratio of pairs."""
    for where, seconds in (("process", near), ("Ray replica", far)):
        yield seconds_row(f"{what}, {where}, p50", None, seconds)
        yield Row(f"{what}, {where}, p99", p99(seconds), None, True, "", len(seconds))
    yield seconds_row(f"{what}, longer by", None, [b - a for a, b in zip(near, far, strict=True)])
    yield ratio_row(f"{what}, Ray replica / process", None, far, near)


def p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100, method="inclusive")[98]


async def measured(local: ProcessBackend, remote: RayBackend, pairs: dict[str, int]) -> list[Row]:
    """Starts both, waits for them, and stops them."""
    try:
        for backend in (local, remote):
            await backend.start()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await job_seconds(backend, 64)
        return taken(await compare(local, remote, pairs))
    finally:
        await local.stop()
        await remote.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=300, help="pairs of small pictures")
    parser.add_argument("--large", type=int, default=60, help="pairs of large ones")
    asked = parser.parse_args()
    pairs = dict(zip(SIDES, (asked.small, asked.large), strict=True))
    with TemporaryDirectory() as folder, small_cluster(1) as replicas:
        process = engine_process(Path(folder))
        local = ProcessBackend([process], queue_size=8, command=(sys.executable, *COMMAND))
        remote = RayBackend(replicas, Path(folder), queue_size=8)
        rows = asyncio.run(measured(local, remote, pairs))
    publish(rows, describe_machine(1), "hops.json")


if __name__ == "__main__":
    main()
