"""The arm of a rollout from the request to the picture: decided once, named in all that is told, counted at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import HouseStyle, Results, RolloutArm
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Busy, Cancelled, EngineFault, InvalidRequest, Unavailable
from sdxl_gateway.core.events import ArmEnded, Event
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.gateway.events import Accepted, Presented
from sdxl_gateway.gateway.packed import unpack_ask, unpack_result
from sdxl_gateway.gateway.tally import tallied
from tests.kit.gateway import GatewayKit, ask, gateway_kit
from tests.kit.stored_jobs import over, painting

CALLER = Caller("me", key_id="key_1")
PLAIN, INKY = Arm("fresh", "demo"), Arm("fresh", "inky")


def models(inky: float) -> dict[str, HouseStyle]:
    arms = (RolloutArm(target="demo", share=1 - inky), RolloutArm(target="inky", share=inky))
    return {"fresh": HouseStyle(rollout=arms), "inky": HouseStyle(steps=2, negative_prompt="colour")}


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
async def kit(tmp_path: Path, told: list[Event]) -> AsyncIterator[GatewayKit]:
    results = Results(cache="seeded", max_bytes=2**20)
    async with gateway_kit(tmp_path, models=models(0.5), results=results, listeners=[told.append]) as opened:
        opened.metrics.know_arms([PLAIN, INKY])
        yield opened


async def painted(kit: GatewayKit, **fields: Any) -> tuple[Accepted, list[Presented]]:
    items = await kit.paint(caller=CALLER, **{"model": "fresh", "size": "64x64", "seed": 5, **fields})
    accepted = next(item for item in items if isinstance(item, Accepted))
    return accepted, [item for item in items if isinstance(item, Presented)]


def user_of(kit: GatewayKit, arm: Arm) -> str:
    """Somebody who has that arm."""
    names = (f"user-{number}" for number in range(100))
    admission = kit.gateway._admission
    return next(name for name in names if admission.with_arm(ask(model="fresh", user=name), CALLER).arm == arm)


def ended(told: list[Event]) -> list[ArmEnded]:
    return [event for event in told if isinstance(event, ArmEnded)]


async def test_all_that_is_told_names_the_arm(kit: GatewayKit, told: list[Event]) -> None:
    for arm in (PLAIN, INKY):
        accepted, (first, second) = await painted(kit, user=user_of(kit, arm), n=2)
        assert accepted.arm == arm
        assert first.recipe["rollout"] == second.recipe["rollout"] == {"name": "fresh", "arm": arm.target}
        labels = {"rollout": "fresh", "arm": arm.target}
        assert kit.count("rollout_requests_total", **labels, outcome="finished") == 1
        assert kit.count("rollout_images_total", **labels) == 2
        assert kit.count("rollout_duration_seconds_count", **labels) == 1
    assert [(event.arm, event.outcome, event.pictures) for event in ended(told)] == [
        (PLAIN, "finished", 2),
        (INKY, "finished", 2),
    ]


async def test_what_was_painted_by_one_arm_is_not_given_for_the_other(kit: GatewayKit, told: list[Event]) -> None:
    plain, inky = (user_of(kit, arm) for arm in (PLAIN, INKY))
    same = {"steps": 3, "negative_prompt": ""}
    found = [(await painted(kit, user=user, **same))[0].cache for user in (plain, inky, plain, inky)]
    assert found == ["miss", "miss", "hit", "hit"]
    counted = [(event.arm, event.outcome, event.pictures, len(event.images), event.tenant) for event in ended(told)]
    assert counted == [
        (PLAIN, "finished", 1, 1, "me"),
        (INKY, "finished", 1, 1, "me"),
        (PLAIN, "reused", 0, 1, "me"),
        (INKY, "reused", 0, 1, "me"),
    ]
    assert kit.count("rollout_duration_seconds_count", rollout="fresh", arm="inky") == 1


async def test_a_request_for_anything_else_is_counted_for_nobody(kit: GatewayKit, told: list[Event]) -> None:
    accepted, (one,) = await painted(kit, model="inky")
    assert (accepted.arm, "rollout" in one.recipe, ended(told)) == (None, False, [])


async def test_a_stored_job_keeps_the_arm_it_was_accepted_with(tmp_path: Path, told: list[Event]) -> None:
    async with gateway_kit(tmp_path / "a", models=models(0.5), listeners=[told.append]) as before:
        user = user_of(before, PLAIN)
        settled = await before.gateway.settled(ask(model="fresh", user=user, size="64x64"), CALLER)
    assert settled.ask.arm == PLAIN
    async with gateway_kit(tmp_path / "b", models=models(1.0), listeners=[told.append]) as after:
        assert user_of(after, INKY)
        job = await after.tasks.submit(settled.ask, CALLER)
        assert unpack_ask((await after.tasks.get(job.id, CALLER)).job.ask).ask.arm == PLAIN
        async with painting(after.tasks):
            done = await over(after.tasks, job.id)
    result = unpack_result(done.job.result or "")
    assert (result.accepted.arm, result.pictures[0].recipe["rollout"]["arm"]) == (PLAIN, "demo")
    assert [(event.arm, event.outcome) for event in ended(told)] == [(PLAIN, "finished")]


async def test_a_refusal_counts_for_the_arm(kit: GatewayKit, told: list[Event]) -> None:
    user = user_of(kit, INKY)
    with pytest.raises(InvalidRequest):
        await painted(kit, user=user, sampler="nobody's")
    with pytest.raises(InvalidRequest):
        await kit.tasks.submit(ask(model="fresh", user=user, sampler="nobody's"), CALLER)
    assert [(event.arm, event.outcome, event.seconds) for event in ended(told)] == [(INKY, "refused", None)] * 2
    assert kit.count("rollout_requests_total", rollout="fresh", arm="inky", outcome="refused") == 2


@pytest.mark.parametrize(
    ("error", "outcome", "stored"),
    [
        (InvalidRequest("no"), "refused", "refused"),
        (Busy("full", retry_after_seconds=1), "refused", None),
        (Unavailable("closing"), "failed", None),
        (EngineFault("broken"), "failed", "failed"),
        (RuntimeError("a mistake of ours"), "failed", "failed"),
        (Cancelled("gone"), "cancelled", "cancelled"),
        (GeneratorExit(), "cancelled", "cancelled"),
    ],
)
def test_however_it_ends(told: list[Event], error: BaseException, outcome: str, stored: str | None) -> None:
    for one in (False, True):
        with pytest.raises(type(error)), tallied(PLAIN, "me", told.append, stored=one):
            raise error
    assert [event.outcome for event in ended(told)] == [one for one in (outcome, stored) if one]


def test_an_arm_that_is_not_configured_any_more_is_other(kit: GatewayKit) -> None:
    kit.metrics.on_event(ArmEnded(replace(PLAIN, target="gone"), "finished", 1, 0.5))
    assert kit.count("rollout_images_total", rollout="other", arm="other") == 1
