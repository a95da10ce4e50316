"""A rollout is a model name as any other, and what it stands for depends on who asks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.admission.configured_names import check_rollouts, problems
from sdxl_gateway.admission.model_names import ModelResolver
from sdxl_gateway.config import ConfigProblem, HouseStyle, LoraWeight, RolloutArm, load_settings
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.caller import ANYBODY, Caller
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.rollout import Arm
from tests.kit.admission import DEMO, AdmissionKit, admission_kit

ART = Caller("art", key_id="key_1")


def rollout(**shares: float) -> HouseStyle:
    return HouseStyle(rollout=tuple(RolloutArm(target=target, share=share) for target, share in shares.items()))


MODELS = {
    "fresh": rollout(demo=60, inky=40),
    "inky": HouseStyle(checkpoint="other", loras=(LoraWeight(name="ink"),), steps=7),
    "framed": HouseStyle(checkpoint="fresh", negative_prompt="blurry"),
}
EACH = [f"user-{number}" for number in range(200)]


def built(folder: Path, **settings: Any) -> AdmissionKit:
    usual: dict[str, Any] = {"checkpoints": {"demo": DEMO, "other": DEMO}, "models": MODELS}
    return admission_kit(folder, {"ink": "", "watercolor": ""}, **(usual | settings))


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    return built(tmp_path)


def decided(home: AdmissionKit, caller: Caller = ART, **fields: Any) -> str | None:
    arm = home.admission.with_arm(Ask(Operation.GENERATE, "a fox", **fields), caller).arm
    return None if arm is None else arm.target


def test_an_end_user_has_the_same_arm_by_whatever_name_it_is_called(tmp_path: Path) -> None:
    home = built(tmp_path, aliases={"gpt-image-*": "default", "new": "fresh"}, default_model="fresh")
    names = (None, "fresh", "FRESH", "gpt-image-1", "new", "fresh+watercolor:0.5", "framed")
    found = {user: {decided(home, model=name, user=user) for name in names} for user in EACH}
    assert {len(arms) for arms in found.values()} == {1}
    assert set.union(*found.values()) == {"demo", "inky"}


def test_who_is_not_named_is_the_key(home: AdmissionKit) -> None:
    keys = [Caller("art", key_id=f"key_{number}") for number in range(100)]
    found = [{decided(home, key, model="fresh") for _ in range(5)} for key in keys]
    assert {len(arms) for arms in found} == {1}
    assert set.union(*found) == {"demo", "inky"}


def test_end_users_of_two_tenants_are_two(home: AdmissionKit) -> None:
    one, two = ([decided(home, Caller(name), model="fresh", user=user) for user in EACH] for name in ("art", "ops"))
    assert one != two


def test_nobody_known_draws_anew(home: AdmissionKit) -> None:
    counted = Counter(decided(home, ANYBODY, model="fresh") for _ in range(400))
    assert counted["inky"] == pytest.approx(160, abs=60)


def test_who_asks_for_something_else_takes_no_part(tmp_path: Path) -> None:
    home = built(tmp_path, default_model="fresh")
    assert {decided(home, model=name, user=user) for name in ("demo", "inky", "ink:0.5") for user in EACH[:20]} == {
        None
    }
    assert decided(home, model="nothing+fresh") is None


async def test_what_was_decided_is_painted_whatever_the_shares_are_by_now(home: AdmissionKit) -> None:
    for target, steps, loras in (("demo", 20, ()), ("inky", 7, ("ink",))):
        arm = Arm("fresh", target)
        resolved = await home.admit(model="fresh", arm=arm)
        assert (resolved.recipe.arm, resolved.recipe.steps, resolved.loras) == (arm, steps, loras)
        ask = Ask(Operation.GENERATE, "a fox", model="fresh", arm=arm)
        assert home.admission.with_arm(ask, ART) is ask
    gone = await home.admit(model="fresh", arm=Arm("fresh", "watercolor"))
    assert gone.loras == ("watercolor",)


async def test_a_house_style_may_stand_on_one_and_loras_on_top(home: AdmissionKit) -> None:
    arm = Arm("fresh", "inky")
    framed = (await home.admit(model="framed+watercolor", arm=arm)).recipe
    assert (framed.arm, framed.negative_prompt, framed.checkpoint) == (arm, "blurry", "other")
    assert {part.name for part in framed.blend.parts} == {"ink", "watercolor"}


async def test_where_nobody_asks_the_largest_arm_stands_for_it(tmp_path: Path) -> None:
    home = built(tmp_path, models=MODELS | {"fresh": rollout(demo=10, inky=90)}, default_model="fresh")
    assert home.admission.names.choose(None).checkpoint.name == "other"
    assert (await home.admit(model="watercolor")).recipe.checkpoint == "other"


async def test_a_key_sees_the_rollout_and_not_its_targets(home: AdmissionKit) -> None:
    caller = Caller("art", models=("fresh",))
    for user in EACH[:10]:
        ask = home.admission.seen_by(caller).with_arm(Ask(Operation.GENERATE, "a", model="fresh", user=user), caller)
        assert (await home.admission.seen_by(caller).resolve(ask)).recipe.arm == ask.arm is not None


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"fresh": rollout(demo=50, nothing=50)}, "'nothing' cannot be painted"),
        ({"fresh": rollout(demo=50, lost=50), "lost": HouseStyle(loras=(LoraWeight(name="gone"),))}, "'lost'"),
        ({"fresh": rollout(demo=50, inner=50), "inner": rollout(demo=100)}, "is a rollout itself"),
        ({"fresh": rollout(demo=50, fresh=50)}, "'fresh' cannot be painted"),
    ],
)
def test_targets_that_cannot_be_painted(tmp_path: Path, models: dict[str, HouseStyle], said: str) -> None:
    home = built(tmp_path, models=models)
    with pytest.raises(CheckpointProblem, match=rf"models\.fresh\.rollout: .*{said}"):
        check_rollouts(home.admission.names, home.adapters)
    assert "models.fresh.rollout" in dict(problems(home.settings, home.checkpoints, home.adapters))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('rollout = [{target = "demo", share = 60}, {target = "b", share = 30}]', "add up to 90"),
        ('rollout = [{target = "demo", share = 0.6}, {target = "b", share = 0.3}]', "add up to 0.9"),
        ('rollout = [{target = "demo", share = 50}, {target = "Demo", share = 50}]', "named twice"),
        ('rollout = [{target = "demo", share = -1}]', "greater than or equal to 0"),
        ('steps = 3\nrollout = [{target = "demo", share = 1}]', "leave out steps"),
    ],
)
def test_shares_that_are_none(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(f"[models.fresh]\n{written}\n")
    with pytest.raises(ConfigProblem, match=rf"models\.fresh.*{said}"):
        load_settings(tmp_path / "config.toml")


def test_shares_of_one_are_as_good_as_shares_of_a_hundred() -> None:
    assert rollout(a=0.1, b=0.2, c=0.7).shares == {"a": 0.1, "b": 0.2, "c": 0.7}


def test_shares_that_were_set_hold_over_the_configurations(tmp_path: Path) -> None:
    said: dict[str, dict[str, float]] = {}
    home = built(tmp_path)
    names = ModelResolver(home.settings, home.checkpoints, home.adapters, over=said.get)
    assert names.rollouts == {"fresh": {"demo": 60, "inky": 40}}
    for shares, held in (
        ({"demo": 0.0, "inky": 100.0}, {"demo": 0.0, "inky": 100.0}),
        ({"demo": 30.0, "gone": 70.0}, {"demo": 30.0, "inky": 0.0}),
        ({"gone": 100.0}, {"demo": 60, "inky": 40}),
    ):
        said["fresh"] = shares
        assert names.rollouts == names.only(bool, home.adapters).rollouts == {"fresh": held}
        assert names.choose("fresh").arm == Arm("fresh", max(held, key=lambda target: held[target]))
