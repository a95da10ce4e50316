"""What measures a cluster's hops and its warmth is run to the end without one, in small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.affinity import POLICIES, Load, of_dispatch
from benchmarks.hops import SIDES, compare
from benchmarks.replica_engine import WarmEngine
from sdxl_gateway.backends.fake_engine import MAX_LANES, READY, FakeCanvas
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.worker.serve import LoadedEngine
from tests.kit.replicas import cluster_of

LOAD = Load(jobs=24, blends=8, warm=3, steps=1, step_seconds=0.001, bring=0.002, per_second=200.0)


def opening(load: Load = LOAD) -> Callable[[Measure], LoadedEngine[FakeCanvas]]:
    return lambda measure: LoadedEngine(WarmEngine(measure, load.warm, load.bring), READY, MAX_LANES)


async def test_both_ways_are_measured_side_by_side() -> None:
    near, far = LocalBackend(opening()), LocalBackend(opening())
    for backend in (near, far):
        await backend.start()
    try:
        rows = list(await compare(near, far, dict.fromkeys(SIDES, 2)))
    finally:
        for backend in (near, far):
            await backend.stop()
    assert len(rows) == 6 * len(SIDES)
    assert all(row.figure > 0 for row in rows if "p50" in row.name)


@pytest.mark.parametrize("policy", POLICIES)
async def test_who_picks_is_measured_by_what_had_to_be_brought(policy: str, tmp_path: Path) -> None:
    async with cluster_of(tmp_path, "one", "two", opening=opening()) as cluster:
        result = await of_dispatch(policy, cluster, tmp_path, LOAD, 0)
    assert 0 <= result.warm < 1
    assert result.p95_seconds >= result.p50_seconds > 0
