"""What callers say is one word a picture and goes with its tenant; what arms do is counted, whatever the disk says."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import StorageFull
from sdxl_gateway.core.events import ArmEnded
from sdxl_gateway.core.quantiles import bin_of
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.storage import arm_table
from sdxl_gateway.storage.arm_table import ArmKey
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.feedback import FeedbackStore, Said
from sdxl_gateway.storage.seal import Seal
from tests.kit.clock import Clock

ART, OPS = Caller("art", key_id="key_1"), Caller("ops", key_id="key_2")
NEW, OLD = Arm("fresh", "new"), Arm("fresh", "old")
DAY = 86400.0


@pytest.fixture
def clock() -> Clock:
    return Clock(100 * DAY)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def store(database: Database, clock: Clock) -> FeedbackStore:
    return FeedbackStore(database, Seal(), clock)


def painted(store: FeedbackStore, arm: Arm, *images: str, tenant: str = "art", seconds: float = 2.0) -> None:
    store.on_event(ArmEnded(arm, "finished", len(images), seconds, tenant, images))


async def test_a_later_word_of_the_same_caller_replaces_the_first(store: FeedbackStore) -> None:
    painted(store, NEW, "a")
    for said in (Said(1, ("blurry",), "bad"), Said(5), Said(2, user="mia"), Said(4, ("sharp",), user="mia")):
        kept = await store.put("a", ART, said)
    assert (kept.arm, kept.score) == (NEW, 4)
    await store.put("a", Caller("art", key_id="key_3"), Said(3))
    found = (await store.figures()).said[NEW]
    assert (dict(found.scores), dict(found.tags)) == ({5: 1, 4: 1, 3: 1}, {"sharp": 1})


async def test_a_picture_of_no_rollout_is_kept_and_counts_for_no_arm(store: FeedbackStore) -> None:
    assert (await store.put("b", ART, Said(3))).arm is None
    assert (await store.figures()).said == {}
    assert [one["score"] for one in await store.export("art")] == [3]


async def test_what_arms_did_is_counted_by_day(store: FeedbackStore, clock: Clock) -> None:
    painted(store, NEW, "a", "b")
    store.on_event(ArmEnded(NEW, "refused"))
    await store.write()
    painted(store, NEW, "c")
    clock.now += DAY
    painted(store, OLD, "d", seconds=8.0)
    counted = (await store.figures()).counted
    first, second, slot = "1970-04-11", "1970-04-12", bin_of(2.0)
    assert counted == {
        ArmKey(first, NEW, "finished", slot): (2, 3),
        ArmKey(first, NEW, "refused", 0): (1, 0),
        ArmKey(second, OLD, "finished", bin_of(8.0)): (1, 1),
    }
    assert {key.day for key in (await store.figures(clock.now)).counted} == {second}


async def test_a_full_disk_loses_nothing(store: FeedbackStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        painted(store, NEW, "b")  # meanwhile
        raise StorageFull("full")

    painted(store, NEW, "a")
    with monkeypatch.context() as patched:
        patched.setattr(arm_table, "add", full)
        with pytest.raises(StorageFull):
            await store.write()
    assert (await store.put("a", ART, Said(4))).arm == (await store.put("b", ART, Said(4))).arm == NEW
    assert sum(requests for requests, _ in (await store.figures()).counted.values()) == 2


async def test_a_tenants_goes_with_it_and_what_was_counted_stays(store: FeedbackStore, database: Database) -> None:
    painted(store, NEW, "a")
    painted(store, NEW, "x", tenant="ops")
    await store.put("a", ART, Said(4, ("sharp",), "fine", "mia"))
    await store.put("x", OPS, Said(2))
    (told,) = await store.export("art")
    assert told | {"created": 0} == {
        "image": "a",
        "key_id": "key_1",
        "user": "mia",
        "score": 4,
        "tags": ["sharp"],
        "comment": "fine",
        "created": 0,
        "rollout": {"name": "fresh", "arm": "new"},
    }
    assert await store.erase("art") == 2
    assert await store.export("art") == []
    assert await database.run(_arms) == {"x"}
    found = await store.figures()
    assert (dict(found.said[NEW].scores), [one.pictures for one in found.counted.values()]) == ({2: 1}, [2])


async def test_what_is_old_enough_goes(store: FeedbackStore, clock: Clock, database: Database) -> None:
    painted(store, NEW, "a")
    await store.put("a", ART, Said(4))
    clock.now += 10 * DAY
    painted(store, NEW, "b")
    await store.put("b", ART, Said(5))
    assert await store.forget_before(clock.now - DAY) == 3
    assert await database.run(_arms) == {"b"}
    assert dict((await store.figures()).said[NEW].scores) == {5: 1}


async def test_a_comment_is_sealed_where_there_is_a_secret(database: Database, clock: Clock) -> None:
    class Turned(Seal):
        def sealed(self, text: str) -> str:
            return text[::-1]

        def plain(self, text: str) -> str:
            return text[::-1]

    store = FeedbackStore(database, Turned(), clock)
    assert (await store.put("a", ART, Said(4, comment="fine"))).comment == "fine"
    assert [one["comment"] for one in await store.export("art")] == ["fine"]
    written = await database.run(lambda connection: connection.execute("SELECT comment FROM feedback").fetchone()[0])
    assert "fine" not in written


async def test_the_last_second_is_written_when_the_server_ends(store: FeedbackStore, database: Database) -> None:
    writing = asyncio.create_task(store.writing())
    await asyncio.sleep(0)
    painted(store, NEW, "a")
    writing.cancel()
    await asyncio.wait([writing])
    assert await database.run(_arms) == {"a"}


def _arms(connection: sqlite3.Connection) -> set[str]:
    return {row["image"] for row in connection.execute("SELECT image FROM arm_images")}
