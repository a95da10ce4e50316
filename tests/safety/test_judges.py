"""All judges are asked, each turn is told, and one that fails counts as the operator says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import pytest

from sdxl_gateway.config import Safety
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.safety import UNJUDGED, UNSEEN, JudgeEnded, Verdict, together
from tests.kit.judges import FakeNet, broken, endless, judges, scores

GREY = Picture(1, 1, "RGB", bytes(3))


async def test_without_judges_everything_is_clean_and_nobody_is_asked() -> None:
    told: list[JudgeEnded] = []
    none = judges(Safety(), tell=told.append)
    assert (none.of_texts, none.of_pictures) == (False, False)
    assert (await none.texts(["nude"]), await none.picture(GREY)) == (Verdict(), Verdict())
    assert told == []


async def test_each_turn_is_told() -> None:
    told: list[JudgeEnded] = []
    both = judges(Safety(deny_words=("nude",)), FakeNet(scores(0.9, 0.1)), told.append)
    assert (await both.texts(["a nude"])).found
    assert not (await both.texts(["a cat"])).found
    assert (await both.picture(GREY)).found
    assert not (await both.picture(GREY)).found
    assert [(one.judge, one.outcome) for one in told] == [
        ("words", "found"),
        ("words", "clean"),
        ("pictures", "found"),
        ("pictures", "clean"),
    ]
    assert all(0 <= one.seconds < 30 for one in told)


@pytest.mark.parametrize("failing", ["closed", "open"])
@pytest.mark.parametrize(("made", "outcome"), [(lambda: FakeNet(broken), "failed"), (endless, "late")])
async def test_a_judge_that_fails_counts_as_the_operator_says(
    failing: Literal["closed", "open"], made: Callable[[], FakeNet], outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[JudgeEnded] = []
    verdict = await judges(Safety(failing=failing, seconds=0.1), made(), told.append).picture(GREY)
    assert verdict.categories == ((UNJUDGED,) if failing == "closed" else ())
    assert verdict.unjudged is (failing == "closed")
    assert [one.outcome for one in told] == [outcome]
    assert ("is held back" if failing == "closed" else "passes") in caplog.text


async def test_a_slow_pattern_counts_as_a_failure_too(caplog: pytest.LogCaptureFixture) -> None:
    slow = judges(Safety(deny_patterns=(r"^(a|aa)+$",)))
    assert (await slow.texts(["a" * 200 + "!"])).unjudged
    assert "the judge of words failed" in caplog.text


async def test_who_goes_away_is_told_as_such() -> None:
    told: list[JudgeEnded] = []
    net = endless()
    judging = asyncio.create_task(judges(Safety(seconds=60), net, told.append).picture(GREY))
    await asyncio.to_thread(net.shown.wait, 30)
    judging.cancel()
    await asyncio.gather(judging, return_exceptions=True)
    assert [one.outcome for one in told] == ["cancelled"]


def test_verdicts_add_up() -> None:
    all_of_them = together([Verdict(("a",), {"a": 0.9, "b": 0.1}), Verdict((UNJUDGED,)), Verdict((), {"b": 0.2})])
    assert all_of_them == Verdict(("a", UNJUDGED), {"a": 0.9, "b": 0.2})
    assert not together([Verdict(), UNSEEN]).whole
    assert not all_of_them.unjudged
