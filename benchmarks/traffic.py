"""Takes servers and a stream of orders, gives rows about many clients at once: pictures a second, side by side."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import combinations

import httpx
from PIL import Image

from benchmarks.figures import Row, speedup_row
from benchmarks.loras import BUNDLED
from benchmarks.painting import REQUEST_SECONDS, STEPS, Order, opened

CLIENTS = 8
FEW_STEPS = 8
FEWEST_STEPS = 4
"""What distilled checkpoints and few-step LoRAs ask for; the fewer, the more loading costs beside painting."""
FOUR_BLENDS = ("demo+outline:0.8", "demo+sunset:0.8", "demo+stripes:0.8", "demo+outline:0.5+sunset:0.5")
TWENTY_BLENDS = (
    *(f"demo+{name}:{weight}" for weight in (0.8, 1.0, 0.6) for name in BUNDLED),
    *(f"demo+{a}:{weight}+{b}:{weight}" for weight in (0.5, 0.7, 0.4) for a, b in combinations(BUNDLED, 2)),
    *(f"demo+{'+'.join(f'{name}:{weight}' for name in BUNDLED)}" for weight in (0.4, 0.6)),
)
"""The most asked for first."""
Orders = Sequence[Order]
Paint = Callable[[httpx.AsyncClient, Order], Awaitable[Image.Image]]


def evenly(steps: int, pictures: int) -> list[Order]:
    return [Order(FOUR_BLENDS[i % len(FOUR_BLENDS)], seed=i, steps=steps) for i in range(pictures)]


def zipf(steps: int, pictures: int, seed: int) -> list[Order]:
    """Blend k of twenty is asked for in proportion to 1 / k; the same seed gives the same stream."""
    shares = [1 / k for k in range(1, len(TWENTY_BLENDS) + 1)]
    models = random.Random(seed).choices(TWENTY_BLENDS, shares, k=pictures)
    return [Order(model, seed=i, steps=steps) for i, model in enumerate(models)]


def alike(orders: Orders) -> list[Order]:
    """The same pictures, all with the blend most asked for."""
    return [Order(TWENTY_BLENDS[0], order.seed, order.steps) for order in orders]


def few_blends_rows(gateway_url: str, plain_url: str, rounds: int, pictures: int) -> Iterator[Row]:
    """Four blends in turn, against the server most tutorials build."""
    for steps in (STEPS, FEW_STEPS):
        orders = evenly(steps, pictures)
        sides = {"ours": (gateway_url, orders), "plain": (plain_url, orders)}
        rates = _rates([sides] * rounds)
        name = f"{CLIENTS} clients, 4 blends, {steps} steps: pictures/s over a plain server's"
        yield speedup_row(name, 2.0, rates["ours"], rates["plain"])


def mixed_rows(
    gateway_url: str, plain_url: str, kept_url: str, rounds: int, pictures: int, *, title: str = ""
) -> Iterator[Row]:
    """Twenty blends as they come, against one blend, and against servers that load each time or keep all loaded."""
    for steps in (STEPS, FEW_STEPS, FEWEST_STEPS):
        streams = [zipf(steps, pictures, seed) for seed in range(rounds)]
        rates = _rates(
            [
                {
                    "mixed": (gateway_url, orders),
                    "one": (gateway_url, alike(orders)),
                    "loading": (plain_url, orders),
                    "kept": (kept_url, orders),
                }
                for orders in streams
            ]
        )
        name = f"{title}{CLIENTS} clients, 20 blends (Zipf), {steps} steps: pictures/s over"
        yield speedup_row(f"{name} the same on one blend", 0.9, rates["mixed"], rates["one"])
        yield speedup_row(f"{name} a server that loads LoRAs for each", 3.0, rates["mixed"], rates["loading"])
        yield speedup_row(f"{name} a server that keeps LoRAs loaded", 3.0, rates["mixed"], rates["kept"])


def _rates(rounds: Sequence[Mapping[str, tuple[str, Orders]]]) -> dict[str, list[float]]:
    """Pictures a second of each side in each round, sides in turn; every server has seen each LoRA before."""
    for url in {url for sides in rounds for url, _ in sides.values()}:
        crowd(url, evenly(1, len(FOUR_BLENDS)))
    rates: dict[str, list[float]] = {side: [] for side in rounds[0]}
    for sides in rounds:
        for side, (url, orders) in sides.items():
            rates[side].append(crowd(url, orders))
    return rates


async def painted(client: httpx.AsyncClient, order: Order) -> Image.Image:
    """By a server of the gateway's API."""
    return opened(await client.post("/v1/images/generations", json=order.body()))


def crowd(url: str, orders: Orders, paint: Paint = painted) -> float:
    """Pictures a second when each client asks for its next one as soon as it has the last."""
    return asyncio.run(_crowd(url, orders, paint))


async def _crowd(url: str, orders: Orders, paint: Paint) -> float:
    waiting = iter(orders)
    async with httpx.AsyncClient(base_url=url, timeout=REQUEST_SECONDS) as client:
        start = time.perf_counter()
        await asyncio.gather(*(_one_after_another(client, waiting, paint) for _ in range(CLIENTS)))
        return len(orders) / (time.perf_counter() - start)


async def _one_after_another(client: httpx.AsyncClient, orders: Iterator[Order], paint: Paint) -> None:
    """All clients share `orders`; each takes the next one."""
    for order in orders:
        await paint(client, order)
