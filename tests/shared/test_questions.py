"""What one gateway is asked all answer, as many as are there; who did not is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.core.background import Background
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.events import ArmEnded
from sdxl_gateway.core.listeners import unheard
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.gateway.fleet import questions as fleet_questions
from sdxl_gateway.gateway.fleet.arms import Arms
from sdxl_gateway.gateway.fleet.questions import PART_ITEMS, PARTS_AHEAD, Questions
from sdxl_gateway.storage.arm_table import Counted
from sdxl_gateway.storage.database import opened as database_in
from sdxl_gateway.storage.feedback import FeedbackStore, Said
from sdxl_gateway.storage.feedback_table import Scores
from sdxl_gateway.storage.seal import Seal
from tests.kit.redis_server import RedisServer
from tests.kit.sharing import questions_in

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
Two = tuple[Questions, Questions]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_questions, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(fleet_questions, "POLL_SECONDS", 0.01)
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)


async def counted(value: Mapping[str, Any]) -> AsyncIterator[Any]:
    for number in range(value["count"]):
        yield {"n": number}


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(questions_in(redis, tmp_path / name)) for name in "ab"]
        for one in (a, b):
            one.follow("count", counted)
        yield a, b


async def answers(one: Questions, count: int) -> list[Sequence[Any] | None]:
    return [part async for _, part in one.others("count", {"count": count})]


async def test_an_answer_comes_whole_and_in_its_order_however_long(two: Two, redis: RedisServer) -> None:
    a, b = two
    many = PART_ITEMS * (PARTS_AHEAD + 4) + 1
    async with Background(unheard).doing("questions", b.running):
        parts = await answers(a, many)
        assert [item["n"] for part in parts for item in part or ()] == list(range(many))
        assert await answers(a, 0) == [[]]
    names = [*redis.cli("KEYS", "*answer*").splitlines(), "sdxl-gateway:questions"]
    assert all(int(redis.cli("PTTL", name)) > 0 for name in names)


async def test_who_does_not_answer_is_told(two: Two, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    a, _ = two
    with monkeypatch.context() as short:
        short.setattr(fleet_questions, "WAIT_SECONDS", 0.05)
        assert await answers(a, 1) == [None]
        short.setattr(fleet_questions, "THERE_SECONDS", -1.0)
        assert await answers(a, 1) == [None]
    redis.stop()
    with pytest.raises(Unavailable):
        await answers(a, 1)


async def test_nobody_who_only_writes_into_redis_asks_or_answers(
    two: Two, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two
    monkeypatch.setattr(fleet_questions, "WAIT_SECONDS", 0.1)
    asking = a.others("count", {"count": 1})
    redis.cli("ZADD", "sdxl-gateway:questions", "9e12", "x" * 40)
    assert await b._mirror.asked() == []
    (_, part) = await anext(asking)
    assert part is None
    (question,) = await b._mirror.asked()
    redis.cli("RPUSH", f"sdxl-gateway:answer:{question.id}", "x" * 40)
    assert await a._mirror.take(question) == []


async def test_what_arms_did_is_added_up(two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pictures at both, each scored 5 by its caller."""
    arm, stores = Arm("posters", "new"), list[FeedbackStore]()
    with ExitStack() as stack:
        for name in "ab":
            stores.append(FeedbackStore(stack.enter_context(database_in(tmp_path / name)), Seal()))
            stores[-1].on_event(ArmEnded(arm, "finished", 2, 1.5, "art", ("one",)))
            await stores[-1].put("one", Caller("art"), Said(5, ("sharp",)))
        here, there = (Arms(store, questions) for store, questions in zip(stores, two, strict=True))
        async with Background(unheard).doing("questions", two[1].running):
            figures, missing = await here.figures(0.0)
        assert [*figures.counted.values()] == [Counted(2, 4)]
        assert (figures.said[arm], missing) == (Scores(Counter({5: 2}), Counter({"sharp": 2})), [])
        monkeypatch.setattr(fleet_questions, "WAIT_SECONDS", 0.05)
        figures, missing = await there.figures(0.0)
        assert ([*figures.counted.values()], len(missing)) == ([Counted(1, 2)], 1)
