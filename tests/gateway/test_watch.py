"""What is sent is judged before anything is looked up or painted, and each key has its own policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import HouseStyle, Safety, Style
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import ModelNotFound, ModerationBlocked, Unjudged
from sdxl_gateway.core.events import Event
from sdxl_gateway.core.safety import Moderated, Policy
from sdxl_gateway.gateway.events import Done, Presented
from tests.kit.gateway import GatewayKit, gateway_kit, noise, upload
from tests.kit.judges import FakeNet, broken, scores

DENYING = Safety(deny_words=("nude", "made of gold"))
SEEN = Caller(tenant="me", key_id="key_1")


def under(policy: Policy | None) -> Caller:
    return Caller(tenant="me", key_id="key_1", safety=policy)


async def refused(kit: GatewayKit, **fields: Any) -> ModerationBlocked:
    with pytest.raises(ModerationBlocked) as found:
        await kit.paint(fields.pop("prompt", "a cat"), **fields)
    return found.value


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a N.U.D.E figure"},
        {"prompt": "a cat <lora:nude:0.5>"},
        {"negative_prompt": "a nude"},
        {"prompt": "a cat", "style": "golden"},
        {"prompt": "a (nu:1.2)de cat", "prompt_syntax": "a1111"},
        {"prompt": "nu\\(de", "prompt_syntax": "a1111"},
        {"prompt": "of gold", "model": "gilded"},
    ],
    ids=str,
)
async def test_every_text_is_judged(tmp_path: Path, fields: dict[str, Any]) -> None:
    told: list[Event] = []
    styles = {"golden": Style(prompt="{prompt}, made of gold")}
    gilded = HouseStyle(checkpoint="demo", trigger_words="made", add_trigger_words=True)
    async with gateway_kit(
        tmp_path, safety=DENYING, styles=styles, models={"gilded": gilded}, listeners=[told.append]
    ) as kit:
        error = await refused(kit, caller=SEEN, **fields)
        assert (error.stage, error.categories) == ("input", ("deny_list",))
        assert kit.count("moderated_total", stage="prompt", action="blocked") == 1
        assert kit.count("jobs_total", outcome="finished") == 0
    assert [one for one in told if isinstance(one, Moderated)] == [
        Moderated("me", "key_1", "", "prompt", "blocked", ("deny_list",))
    ]


async def test_what_is_refused_is_not_even_looked_up(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, safety=DENYING) as kit:
        await refused(kit, prompt="a nude", model="nobody")
        with pytest.raises(ModelNotFound):
            await kit.paint("a cat", model="nobody")


@pytest.mark.parametrize(
    ("server", "key", "refuses"),
    [
        (Policy.BLOCK, None, True),
        (Policy.BLUR, None, True),
        (Policy.FLAG, None, False),
        (Policy.OFF, None, False),
        (Policy.OFF, Policy.BLOCK, True),
        (Policy.BLOCK, Policy.FLAG, False),
        (Policy.BLOCK, Policy.OFF, False),
    ],
)
async def test_a_key_has_its_own_policy(tmp_path: Path, server: Policy, key: Policy | None, refuses: bool) -> None:
    async with gateway_kit(tmp_path, safety=DENYING.model_copy(update={"policy": server})) as kit:
        if refuses:
            await refused(kit, prompt="a nude", caller=under(key))
        else:
            items = await kit.paint("a nude", caller=under(key))
            assert isinstance(items[-1], Done)
        assert kit.count("moderated_total", stage="prompt", action="flagged") == ((key or server) is Policy.FLAG)


async def test_nothing_of_the_word_is_told(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, safety=DENYING) as kit:
        error = await refused(kit, prompt="a nude in a garden")
    assert "rejected by the safety system" in error.message
    assert "nude" not in error.message


async def test_each_text_is_judged_once(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, safety=DENYING) as kit:
        await kit.paint("a cat")
        assert kit.count("judge_duration_seconds_count", judge="words", outcome="clean") == 1


@pytest.mark.parametrize("looked_at", [True, False])
async def test_uploads_are_looked_at_where_that_is_configured(tmp_path: Path, looked_at: bool) -> None:
    net = FakeNet(scores(0.9, 0.0))
    section = Safety(uploads=looked_at)
    edit: dict[str, Any] = {"operation": Operation.EDIT, "images": (upload(noise((256, 256), (0, 0, 64, 64))),)}
    async with gateway_kit(tmp_path, safety=section, net=net) as kit:
        if looked_at:
            assert (await refused(kit, **edit)).categories == ("sexual",)
            assert kit.count("moderated_total", stage="upload", action="blocked") == 1
            assert [image.size for image in net.seen] == [(256, 256)]
        else:
            assert (await refused(kit, **edit)).stage == "output"


@pytest.mark.parametrize(("failing", "passes"), [("closed", False), ("open", True)])
async def test_a_judge_that_fails_opens_or_closes(tmp_path: Path, failing: str, passes: bool) -> None:
    section = Safety.model_validate({"failing": failing, "uploads": True})
    edit: dict[str, Any] = {"operation": Operation.EDIT, "images": (upload(noise((256, 256))),)}
    async with gateway_kit(tmp_path, safety=section, net=FakeNet(broken)) as kit:
        if passes:
            assert any(isinstance(item, Presented) for item in await kit.paint(**edit))
        else:
            with pytest.raises(Unjudged):
                await kit.paint(**edit)
        assert kit.count("judge_duration_seconds_count", judge="pictures", outcome="failed") >= 1
