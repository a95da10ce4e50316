"""Pictures are looked at a few at a time, beside the event loop, and a net that never ends holds nobody for long."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from PIL import Image

from sdxl_gateway.core.picture import Picture
from sdxl_gateway.safety.failure import JudgeFailed
from sdxl_gateway.safety.picture_judge import SEXUAL, PictureJudge
from tests.kit.judges import FakeNet, broken, endless, scores

GREY = Picture(4, 2, "RGB", bytes([9, 90, 200]) * 8)


@pytest.mark.parametrize(("score", "categories"), [(0.79, ()), (0.8, (SEXUAL,)), (1.0, (SEXUAL,))])
async def test_from_the_threshold_on_a_score_counts(score: float, categories: tuple[str, ...]) -> None:
    net = FakeNet(scores(score))
    verdict = await PictureJudge(net, at_once=1, seconds=5).judge(GREY, 0.8)
    assert (verdict.categories, dict(verdict.scores)) == (categories, {SEXUAL: score})
    assert (net.seen[0].size, net.seen[0].getpixel((3, 1))) == ((4, 2), (9, 90, 200))


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
async def test_a_score_that_is_none_is_a_failure(score: float) -> None:
    with pytest.raises(JudgeFailed, match="is not between 0 and 1") as failed:
        await PictureJudge(FakeNet(scores(score)), at_once=1, seconds=5).judge(GREY, 0.8)
    assert failed.value.outcome == "failed"


async def test_a_net_that_breaks_is_a_failure() -> None:
    with pytest.raises(JudgeFailed, match="no room") as failed:
        await PictureJudge(FakeNet(broken), at_once=1, seconds=5).judge(GREY, 0.8)
    assert failed.value.outcome == "failed"


async def test_a_net_that_hangs_is_stopped_and_the_next_picture_is_judged() -> None:
    net = endless()
    judge = PictureJudge(net, at_once=1, seconds=0.1)
    with pytest.raises(JudgeFailed) as failed:
        await judge.judge(GREY, 0.8)
    assert (failed.value.outcome, net.stopped.is_set()) == ("late", True)
    net.scored = scores(0.5)
    assert not (await judge.judge(GREY, 0.8)).found


async def test_one_that_hears_of_nothing_holds_its_own_turn_alone() -> None:
    release = threading.Event()
    net = FakeNet()

    def deaf(image: Image.Image) -> float:
        release.wait(30)
        return 0.0

    net.scored = deaf
    judge = PictureJudge(net, at_once=2, seconds=0.2)
    with pytest.raises(JudgeFailed):
        await judge.judge(GREY, 0.8)
    net.scored = scores(0.1)
    assert not (await judge.judge(GREY, 0.8)).found
    release.set()


async def test_waiting_for_a_turn_counts_and_nobody_waits_for_ever() -> None:
    release = threading.Event()
    net = FakeNet(lambda image: float(release.wait(30)) - 1.0)
    judge = PictureJudge(net, at_once=1, seconds=0.3)
    began = time.monotonic()
    found = await asyncio.gather(*(judge.judge(GREY, 0.8) for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in found] == [JudgeFailed] * 5
    assert time.monotonic() - began < 10
    release.set()


async def test_no_more_than_so_many_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def counted(image: Image.Image) -> float:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return 0.0

    judge = PictureJudge(FakeNet(counted), at_once=2, seconds=30)
    await asyncio.gather(*(judge.judge(GREY, 0.8) for _ in range(8)))
    assert most == 2


async def test_who_goes_away_stops_the_net() -> None:
    net = endless()
    judging = asyncio.create_task(PictureJudge(net, at_once=1, seconds=60).judge(GREY, 0.8))
    await asyncio.to_thread(net.shown.wait, 30)
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    assert net.stopped.is_set()
