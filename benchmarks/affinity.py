"""Measures what knowing warm LoRAs is worth, live on two replicas of a Ray cluster: whoever picks gets the same jobs.

`python -m benchmarks.affinity`: jobs with a LoRA each, of Zipf popularity, arrive at random times. Our rule, random and
round robin pick for our dispatcher; Serve's own multiplexed model ids have a deployment of their own whose replicas
sleep as long for the same. Figures go to benchmarks/results/affinity.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.figures import RESULTS
from benchmarks.fleet.outcome import quantile
from benchmarks.machine import describe_machine
from benchmarks.small_cluster import small_cluster
from sdxl_gateway.backends.ray.backend import RayBackend
from sdxl_gateway.backends.ray.handle import Replicas
from sdxl_gateway.core.events import EngineEvent, EngineOpened, Failed, Measured
from sdxl_gateway.core.measurements import AdapterLoaded
from sdxl_gateway.jobs.placing import Choose
from sdxl_gateway.scheduling.dispatch import Standing, choose
from tests.kit.jobs import sized_job

REPLICAS = 2
WINDOW_IMAGES = 8
"""Of our dispatcher: who picks without looking passes by whoever is full."""


@dataclass(frozen=True)
class Load:
    """`jobs` of `blends` LoRAs, `per_second` of them; a step takes `step_seconds`, a LoRA that is not warm `bring`."""

    jobs: int = 160
    blends: int = 24
    warm: int = 6
    steps: int = 5
    step_seconds: float = 0.03
    bring: float = 0.3
    per_second: float = 8.0

    def arrivals(self, seed: int) -> list[tuple[float, int]]:
        """When, in seconds, and which blend; equal for equal seeds."""
        chance = random.Random(seed)
        popularity = list(accumulate(1 / rank for rank in range(1, self.blends + 1)))
        gaps = accumulate(chance.expovariate(self.per_second) for _ in range(self.jobs))
        return [(at, chance.choices(range(self.blends), cum_weights=popularity)[0]) for at in gaps]


@dataclass(frozen=True)
class Result:
    """Of the jobs after a first quarter: the share that met its LoRA warm, and seconds from asking to the picture."""

    policy: str
    warm: float
    p50_seconds: float
    p95_seconds: float


def at_random(seed: int) -> Choose:
    """Any that has room."""
    chance = random.Random(seed)
    return lambda standings: chance.choice(_with_room(standings))


def round_robin() -> Choose:
    """One after the other, passing by the full."""
    last = -1

    def pick(standings: Sequence[Standing]) -> int:
        nonlocal last
        last = min(_with_room(standings), key=lambda index: (index - last - 1) % len(standings))
        return last

    return pick


def _with_room(standings: Sequence[Standing]) -> list[int]:
    some = [index for index, one in enumerate(standings) if one.images < WINDOW_IMAGES]
    return some or list(range(len(standings)))


POLICIES: dict[str, Callable[[int], Choose]] = {
    "ours": lambda _: choose,
    "random": at_random,
    "round robin": lambda _: round_robin(),
}


async def of_dispatch(policy: str, replicas: Replicas, folder: Path, load: Load, seed: int) -> Result:
    """One round of jobs through a gateway's dispatcher."""
    opened: set[str] = set()
    brought: list[float] = []

    def hear(event: EngineEvent) -> None:
        if isinstance(event, EngineOpened):
            opened.add(event.engine_id)
        if isinstance(event, Measured) and isinstance(event.measurement, AdapterLoaded):
            brought.append(perf_counter())

    backend = RayBackend(replicas, folder, queue_size=load.jobs, listener=hear, choose=POLICIES[policy](seed))
    await backend.start()
    try:
        while len(opened) < REPLICAS:  # noqa: ASYNC110 (the listener is not told to wake anybody)
            await asyncio.sleep(0.1)
        begun = perf_counter()
        seconds = await _all(load, seed, lambda blend: _paint(backend, blend, load))
    finally:
        await backend.stop()
    arrivals = load.arrivals(seed)
    since = begun + arrivals[load.jobs // 4][0]
    return _result(policy, seconds, sum(at >= since for at in brought), load)


async def _paint(backend: RayBackend, blend: int, load: Load) -> None:
    job = sized_job(64, f"step-seconds={load.step_seconds}", steps=load.steps, blend=f"{blend:05}")
    async for event in await backend.submit(job):
        if isinstance(event, Failed):
            raise event.error


async def _all(load: Load, seed: int, ask: Callable[[int], Awaitable[None]]) -> list[float]:
    """Seconds of each job, asked for at its time."""
    begun = perf_counter()

    async def one(at: float, blend: int) -> float:
        await asyncio.sleep(begun + at - perf_counter())
        asked = perf_counter()
        await ask(blend)
        return perf_counter() - asked

    return list(await asyncio.gather(*(one(at, blend) for at, blend in load.arrivals(seed))))


def _result(policy: str, seconds: Sequence[float], brought: int, load: Load) -> Result:
    counted = seconds[load.jobs // 4 :]
    return Result(policy, 1 - brought / len(counted), quantile(counted, 0.5), quantile(counted, 0.95))


async def of_serve(load: Load, seed: int) -> Result:
    """Serve's multiplexed model ids: its own router picks, by the ids that replicas hold and by their queues."""
    from benchmarks.multiplexed import begun

    handle = await asyncio.to_thread(begun, REPLICAS, load.warm, load.steps * load.step_seconds, load.bring)
    quarter, brought, asked = load.jobs // 4, 0, 0

    async def ask(blend: int) -> None:
        nonlocal brought, asked
        asked += 1
        counts = asked > quarter
        cold = await handle.options(multiplexed_model_id=f"{blend:05}").remote()
        brought += cold and counts

    seconds = await _all(load, seed, ask)
    return _result("Serve's multiplexed ids", seconds, brought, load)


async def measured(load: Load, replicas: Replicas, folder: Path, seeds: Sequence[int]) -> list[Result]:
    """A round of each for each seed, one after the other."""
    found = []
    for seed in seeds:
        for policy in POLICIES:
            found.append(await of_dispatch(policy, replicas, folder, load, seed))
            print(found[-1], flush=True)
        found.append(await of_serve(load, seed))
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=Load.jobs)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    load = Load(jobs=asked.jobs)
    options = ("--warm", str(load.warm), "--bring", str(load.bring))
    with TemporaryDirectory() as folder, small_cluster(REPLICAS, *options) as replicas:
        found = asyncio.run(measured(load, replicas, Path(folder), range(asked.rounds)))
    record = {"machine": describe_machine(1), "load": asdict(load), "rounds": [asdict(one) for one in found]}
    (RESULTS / "affinity.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
