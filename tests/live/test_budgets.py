"""Many clients and blends with room for three adapters: what is evicted costs time, never a pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from random import Random

import httpx
import pytest

from sdxl_gateway.config import DEMO_MODEL
from tests.kit.engine_loras import write_lora
from tests.kit.live_pictures import Pixels, farthest, pixels
from tests.kit.loopback import loopback
from tests.kit.servers import Server, server, until

ADAPTERS = 10
EVICTIONS = 'sdxl_gateway_lora_evictions_total{tier="%s"}'
LOADS = 'sdxl_gateway_lora_loads_total{source="%s"}'
Asked = tuple[str, int]


@dataclass(frozen=True)
class Load:
    """How many blends of one, two and three adapters are asked for, in how many seeds, by whom and how often."""

    blends: Sequence[int]
    seeds: int
    clients: int
    requests_each: int


FEW = Load(blends=(2, 2, 2), seeds=1, clients=4, requests_each=8)
MANY = Load(blends=(6, 8, 6), seeds=2, clients=8, requests_each=40)


@pytest.fixture(scope="module")
def adapter_bytes(tmp_path_factory: pytest.TempPathFactory) -> int:
    return write_lora(tmp_path_factory.mktemp("size") / "one.safetensors", DEMO_MODEL, 0).stat().st_size


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory, adapter_bytes: int) -> Iterator[Server]:
    """A server with ten LoRAs of one size, and room for three in each tier."""
    room = str(int(3.5 * adapter_bytes))
    folder = tmp_path_factory.mktemp("tight")
    with server(folder, memory__vram_budget_bytes=room, memory__host_budget_bytes=room, memory__pristine="host") as one:
        for number in range(ADAPTERS):
            write_lora(one.loras / f"style{number}.safetensors", DEMO_MODEL, number, size=0.6)
        until(lambda: loopback.get(f"{one.url}/v1/models/style{ADAPTERS - 1}").status_code == 200, seconds=60)
        yield one


def blends(counts: Sequence[int]) -> list[str]:
    """Single adapters, pairs and triples; hardly any adapter twice at one weight."""
    dice = Random(7)
    names = [f"style{number}" for number in range(ADAPTERS)]
    groups: list[tuple[str, ...]] = [(name,) for name in names[: counts[0]]]
    groups += dice.sample(list(combinations(names, 2)), counts[1])
    groups += dice.sample(list(combinations(names, 3)), counts[2])
    return ["+".join(["demo", *(f"{name}:{dice.uniform(0.3, 1.2):.2f}" for name in group)]) for group in groups]


def paint(client: httpx.Client, asked: Asked) -> Pixels:
    model, seed = asked
    said = {"prompt": "a red circle", "size": "64x64", "steps": 2, "guidance_scale": 1.0, "response_format": "b64_json"}
    answer = client.post("/v1/images/generations", json={**said, "model": model, "seed": seed})
    assert answer.status_code == 200, answer.text
    return pixels(answer.json()["data"][0]["b64_json"])


@pytest.mark.parametrize("load", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.full)])
def test_every_picture_is_the_one_painted_alone(tight: Server, load: Load) -> None:
    names, dice = blends(load.blends), Random(11)
    assert len(names) == sum(load.blends)
    every = [(name, seed) for name in names for seed in range(load.seeds)]
    with httpx.Client(base_url=tight.url, timeout=240, limits=httpx.Limits(max_connections=load.clients)) as client:
        base = paint(client, ("demo", 0))
        alone = {asked: paint(client, asked) for asked in every}
        for one, other in combinations([base, *(alone[name, 0] for name in names)], 2):
            assert farthest(one, other) > 2, "a mixture of two blends could go unseen"
        before = {series: tight.metric(series) for series in (EVICTIONS % "vram", EVICTIONS % "host", LOADS % "disk")}
        asked = [dice.choice(every) for _ in range(load.clients * load.requests_each)]

        with ThreadPoolExecutor(load.clients) as pool:
            together = list(pool.map(lambda one: paint(client, one), asked))

        wrong = [one for one, picture in zip(asked, together, strict=True) if farthest(picture, alone[one]) > 1]
        assert wrong == []
        assert farthest(paint(client, ("demo", 0)), base) == 0
    assert all(tight.metric(series) - was > len(names) for series, was in before.items()), "nothing had to make room"
    assert tight.metric('sdxl_gateway_lora_cache_entries{engine="0",tier="vram"}') <= 3
