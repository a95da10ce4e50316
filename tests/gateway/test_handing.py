"""What may not leave is held back alone; where nothing is left, the caller is told so as an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.config import Safety
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import ModerationBlocked, Unjudged
from sdxl_gateway.core.safety import Policy
from sdxl_gateway.delivery.deliver import BLURRED
from sdxl_gateway.gateway.events import Done, Item, Partial, Presented, Withheld
from tests.kit.gateway import PAINTED, decoded, gateway_kit
from tests.kit.judges import FakeNet, broken, endless, scores


def of(kind: type[Item], items: list[Item]) -> list[Item]:
    return [item for item in items if isinstance(item, kind)]


def done(items: list[Item]) -> Done:
    assert isinstance(items[-1], Done)
    return items[-1]


async def test_one_refused_picture_leaves_the_others(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, net=FakeNet(scores(0.0, 0.9, 0.1))) as kit:
        items = await kit.paint(n=3, seed=7)
        assert len(kit.images.kept) == 2
        assert kit.count("moderated_total", stage="picture", action="blocked") == 1
    (held,) = of(Withheld, items)
    assert isinstance(held, Withheld)
    assert isinstance(held.error, ModerationBlocked)
    assert (held.seed, held.error.stage, held.error.categories) == (7 + held.index, "output", ("sexual",))
    assert len(of(Presented, items)) == 2
    assert done(items).warnings[-1] == "1 of 3 pictures were held back by the safety system."


async def test_where_none_is_left_it_is_an_error(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, net=FakeNet(scores(0.9))) as kit:
        with pytest.raises(ModerationBlocked):
            await kit.paint(n=2)
        assert (len(kit.images.kept), kit.count("jobs_total", outcome="finished")) == (0, 1)
        with pytest.raises(ModerationBlocked):
            await kit.paint(stream=True)


async def test_blurred_pictures_show_nothing_and_say_so(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, safety=Safety(policy=Policy.BLUR), net=FakeNet(scores(0.9))) as kit:
        items = await kit.paint(n=2, embed_recipe=True)
        assert kit.count("moderated_total", stage="picture", action="blurred") == 2
    assert len(of(Presented, items)) == 2
    assert BLURRED in done(items).warnings


@pytest.mark.parametrize(("policy", "looks"), [("block", 0), ("blur", 2), ("flag", 2), ("off", 2)])
async def test_previews_go_the_same_way(tmp_path: Path, policy: str, looks: int) -> None:
    """The looks score high, the picture they become does not."""
    section = Safety.model_validate({"policy": policy})
    net = FakeNet(scores(0.9, 0.9, 0.0))
    async with gateway_kit(tmp_path, safety=section, net=net) as kit:
        items = await kit.paint(stream=True, partial_images=2, steps=6)
        assert kit.count("moderated_total", stage="preview", action="blocked") == (2 if policy == "block" else 0)
        assert kit.count("moderated_total", stage="preview", action="blurred") == (2 if policy == "blur" else 0)
    assert len(of(Partial, items)) == looks
    assert len(net.seen) == {"block": 3, "blur": 3, "flag": 1, "off": 0}[policy]
    assert len(of(Presented, items)) == 1


@pytest.mark.parametrize("policy", [*Policy, None])
async def test_who_is_not_found_guilty_gets_the_same_bytes(tmp_path: Path, policy: Policy | None) -> None:
    painted: list[bytes] = []
    for net in (None, FakeNet(scores(0.79))):
        async with gateway_kit(tmp_path / str(net is None), net=net) as kit:
            items = await kit.paint(seed=3, embed_recipe=True, caller=Caller(safety=policy))
            painted += [item.data for item in items if isinstance(item, Presented)]
    assert painted[0] == painted[1]
    assert decoded(painted[0]).getpixel((0, 0)) == PAINTED


async def test_under_flag_and_off_what_is_found_leaves_as_it_is(tmp_path: Path) -> None:
    painted: list[bytes] = []
    for policy in (Policy.FLAG, Policy.OFF):
        async with gateway_kit(tmp_path / policy, net=FakeNet(scores(0.9))) as kit:
            items = await kit.paint(seed=3, caller=Caller(safety=policy))
            painted += [item.data for item in items if isinstance(item, Presented)]
            assert kit.count("moderated_total", stage="picture", action="flagged") == (policy is Policy.FLAG)
    assert painted[0] == painted[1]


@pytest.mark.parametrize("hung", [True, False])
@pytest.mark.parametrize("policy", ["block", "blur", "flag"])
async def test_a_judge_that_fails_closes(tmp_path: Path, policy: str, hung: bool) -> None:
    section = Safety.model_validate({"policy": policy, "seconds": 0.05})
    net = endless() if hung else FakeNet(broken)
    async with gateway_kit(tmp_path, safety=section, net=net) as kit:
        if policy == "block":
            with pytest.raises(Unjudged):
                await kit.paint()
        else:
            items = await kit.paint()
            assert (BLURRED in done(items).warnings) is (policy == "blur")
        action = {"block": "blocked", "blur": "blurred", "flag": "flagged"}[policy]
        assert kit.count("moderated_total", stage="picture", action=action) == 1


async def test_or_opens_by_setting(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, safety=Safety(failing="open"), net=FakeNet(broken)) as kit:
        items = await kit.paint()
        assert kit.count("judge_duration_seconds_count", judge="pictures", outcome="failed") == 1
    assert of(Presented, items)
    assert done(items).warnings == ()
