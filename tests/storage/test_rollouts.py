"""What operators decide about shares is in force within seconds everywhere, and can be taken back step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import WrongState
from sdxl_gateway.storage import rollouts as module
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.rollouts import LOOK_SECONDS, RolloutStore
from tests.kit.stored_jobs import eventually

HALF, ALL = {"old": 50.0, "new": 50.0}, {"old": 0.0, "new": 100.0}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def store(database: Database) -> RolloutStore:
    return RolloutStore(database, clock=map(float, count(1)).__next__)


async def test_promoted_and_taken_back_step_by_step(store: RolloutStore) -> None:
    assert (store.shares("fresh"), store.last("fresh")) == (None, None)
    for shares in (HALF, ALL):
        await store.promote("fresh", shares, "mia")
    assert store.shares("fresh") == ALL
    await store.back("fresh", "tom")
    assert store.shares("fresh") == HALF
    await store.promote("fresh", ALL, "mia")
    await store.back("fresh", "tom")
    assert store.shares("fresh") == HALF
    await store.back("fresh", "tom")
    assert store.shares("fresh") is None
    with pytest.raises(WrongState, match="nothing to go back to"):
        await store.back("fresh", "tom")
    done = [(one.at, one.who, one.action, one.shares) for one in await store.history("fresh")]
    assert done == [
        (1.0, "mia", "promoted", HALF),
        (2.0, "mia", "promoted", ALL),
        (3.0, "tom", "back", HALF),
        (4.0, "mia", "promoted", ALL),
        (5.0, "tom", "back", HALF),
        (6.0, "tom", "back", None),
    ]


async def test_rollouts_are_changed_each_for_itself(store: RolloutStore) -> None:
    await store.promote("fresh", HALF, "mia")
    await store.promote("other", ALL, "mia")
    await store.back("fresh", "mia")
    assert (store.shares("fresh"), store.shares("other")) == (None, ALL)
    assert [one.rollout for one in await store.history("other")] == ["other"]


async def test_another_process_is_followed(
    store: RolloutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LOOK_SECONDS <= 5
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    following = asyncio.create_task(store.following())
    with opened(tmp_path) as elsewhere:
        await RolloutStore(elsewhere).promote("fresh", HALF, "mia")
        await eventually(lambda: store.shares("fresh") == HALF)
    following.cancel()
