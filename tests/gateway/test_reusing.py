"""A request that was painted before is answered without an engine, and nothing but the very same one is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Delivery, Results, Safety, Settings
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.picture import Box, KeptRegion, Padding, Picture
from sdxl_gateway.core.prompt import TextReading
from sdxl_gateway.core.recipe import Blend, BlendPart, Control, ImagePrompt, Phase, Recipe, Task
from sdxl_gateway.core.safety import Oversight, Policy
from sdxl_gateway.delivery.deliver import NOT_KEPT, Output
from sdxl_gateway.gateway.events import Accepted, Done, Item, Partial, Presented
from sdxl_gateway.gateway.reusing import key_of
from tests.kit.gateway import CALLER, GatewayKit, ask, gateway_kit
from tests.kit.jobs import recipe
from tests.kit.judges import FakeNet, broken, scores
from tests.kit.stored_jobs import over, painting

BLEND = Blend.of([BlendPart("d1", 1.0, 1.0, "ink")])
RECIPE = recipe("a fox", blend="d0")
OTHER: dict[str, Any] = {
    "task": Task.INPAINT,
    "blend": BLEND,
    "later_phases": (Phase("refiner", "1", BLEND, 3, 0.8),),
    "inputs": (("image", "0"),),
    "padding": Padding(8, 0, 0, 0),
    "inpaint_padding": 32,
    "controls": (Control("canny", "0", 1.0),),
    "reading": TextReading(clip_skip=1),
    "image_prompt": ImagePrompt("plus", "0", (1.0,)),
    "matte": "0",
}
"""Values of a recipe's fields that are neither numbers nor texts."""
RED, BLUE = (Picture(8, 8, "RGB", bytes([value]) * 192) for value in (200, 10))
MASK, HALF = (Picture(8, 8, "L", bytes([value]) * 64) for value in (255, 128))
KEPT = KeptRegion(RED, MASK)


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else f"{value}x"


def changed(made: Recipe, name: str) -> Recipe:
    return replace(made, **{name: OTHER[name] if name in OTHER else other(getattr(made, name))})


def output(made: Recipe = RECIPE, **more: Any) -> Output:
    return Output(**{"recipe": made, "kept": None, "output_format": "png", "compression": 100, "tenant": "me", **more})


def key(leaving: Output | None = None, settings: Settings | None = None, **more: bool) -> str:
    return key_of(leaving or output(), settings or Settings(), **more)


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe)])
def test_every_field_of_a_recipe_changes_the_key(name: str) -> None:
    assert key(output(replace(RECIPE))) == key()
    assert key(output(changed(RECIPE, name))) != key()


@pytest.mark.parametrize(
    "part",
    [
        BlendPart("d2", 1.0, 1.0, "ink"),
        BlendPart("d1", 0.5, 1.0, "ink"),
        BlendPart("d1", 1.0, 0.5, "ink"),
        BlendPart("d1", 1.0, 1.0, "pen"),
        BlendPart("d1", 1.0, 1.0, "ink", (0.5,) * 11),
    ],
)
def test_a_replaced_lora_changes_the_key_and_so_does_its_name_which_the_receipt_tells(part: BlendPart) -> None:
    assert key(output(replace(RECIPE, blend=Blend((part,))))) != key(output(replace(RECIPE, blend=BLEND)))


MATTERS: dict[str, list[Any]] = {
    "recipe": [changed(RECIPE, "prompt")],
    "kept": [
        KEPT,
        replace(KEPT, original=BLUE),
        replace(KEPT, mask=HALF),
        replace(KEPT, seam=3),
        replace(KEPT, box=Box(0, 0, 4, 4)),
    ],
    "output_format": ["webp", "jpeg"],
    "compression": [90],
    "tenant": ["you"],
    "embed_recipe": [True],
    "oversight": [Oversight(Policy.BLOCK), Oversight(Policy.BLUR), Oversight(Policy.FLAG)],
}
INDIFFERENT: dict[str, list[Any]] = {
    "keep": [True],
    "must_keep": [True],
    "oversight": [Oversight(Policy.OFF, "me", "k")],
}


def test_what_decides_the_bytes_of_an_output_changes_the_key() -> None:
    assert {field.name for field in fields(Output)} == set(MATTERS) | set(INDIFFERENT)
    keys = [key(replace(output(), **{name: value})) for name, values in MATTERS.items() for value in values]
    assert len({key(), *keys}) == 1 + len(keys)
    same = {key(replace(output(), **{name: value})) for name, values in INDIFFERENT.items() for value in values}
    assert same == {key()}


def test_settings_that_decide_a_picture_change_the_key() -> None:
    embedding = Settings(delivery=Delivery(embed_recipe=True))
    assert key(settings=embedding) == key(output(embed_recipe=True)) != key()
    assert key(settings=Settings(safety=Safety(threshold=0.123))) != key()
    assert key(settings=Settings(results=Results(seconds=1.0))) == key()


def test_without_a_seed_any_will_do() -> None:
    another = output(replace(RECIPE, seed=9))
    assert key(any_seed=True) == key(another, any_seed=True)
    assert key(any_seed=True) not in (key(), key(output(replace(RECIPE, seed=0))))


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[GatewayKit]:
    async with gateway_kit(tmp_path) as opened:
        yield opened


def of(kind: type[Item], items: list[Item]) -> list[Any]:
    return [item for item in items if isinstance(item, kind)]


def cache_of(items: list[Item]) -> str | None:
    accepted = items[0]
    assert isinstance(accepted, Accepted)
    return accepted.cache


async def test_the_same_request_is_painted_once(kit: GatewayKit) -> None:
    first, second = [await kit.paint("a fox", seed=7, n=2, model="demo+sunset:0.5") for _ in range(2)]
    assert [cache_of(items) for items in (first, second)] == ["miss", "hit"]
    before, after = (sorted(of(Presented, items), key=lambda one: one.index) for items in (first, second))
    assert [(one.data, one.seed, one.recipe, one.warnings) for one in before] == [
        (one.data, one.seed, one.recipe, one.warnings) for one in after
    ]
    assert first[-1] == second[-1]
    assert len({one.stored for one in (*before, *after)}) == len(kit.images.kept) == 4
    assert kit.count("images_generated_total", model="demo") == 2
    assert (kit.count("jobs_total", outcome="finished"), kit.count("requests_in_flight")) == (1, 0)
    assert [kit.count("result_lookups_total", outcome=outcome) for outcome in ("hit", "miss")] == [1, 1]


async def test_a_hit_in_a_stream_is_the_finished_picture(kit: GatewayKit) -> None:
    await kit.paint(seed=7)
    items = await kit.paint(seed=7, stream=True, partial_images=2)
    assert [type(item) for item in items] == [Accepted, Presented, Done]
    assert not of(Partial, items)


async def test_what_differs_is_painted(kit: GatewayKit) -> None:
    await kit.paint("a fox", seed=7)
    differing: list[dict[str, Any]] = [
        {"prompt": "a cat"},
        {"seed": 8},
        {"steps": 4},
        {"n": 2},
        {"output_format": "webp"},
        {"model": "demo+sunset"},
        {"embed_recipe": True},
        {"caller": Caller(tenant="you")},
    ]
    for more in differing:
        assert cache_of(await kit.paint(**{"prompt": "a fox", "seed": 7, **more})) == "miss"
    assert cache_of(await kit.paint("a fox", seed=7, caller=Caller(CALLER.tenant, key_id="another"))) == "hit"


async def test_without_a_seed_nothing_is_looked_for(kit: GatewayKit) -> None:
    assert [cache_of(await kit.paint()) for _ in range(2)] == [None, None]
    assert kit.count("result_lookups_total", outcome="miss") == 0


@pytest.mark.parametrize(
    ("mode", "told"), [("off", [None] * 4), ("seeded", ["miss", "hit", None, None]), ("prompt", ["miss", "hit"] * 2)]
)
async def test_the_setting_says_what_is_looked_for(tmp_path: Path, mode: Any, told: list[str | None]) -> None:
    async with gateway_kit(tmp_path, results=Results(cache=mode)) as kit:
        seeded = [cache_of(await kit.paint(seed=7)) for _ in range(2)]
        anyhow = [await kit.paint() for _ in range(2)]
        assert [*seeded, *map(cache_of, anyhow)] == told
        seeds = [of(Presented, items)[0].recipe["seed"] for items in anyhow]
        assert (seeds[0] == seeds[1]) is (mode == "prompt")


async def test_a_hit_on_a_full_disk_is_told_as_a_picture_is(kit: GatewayKit) -> None:
    await kit.paint(seed=7)
    kit.images.full = True
    items = await kit.paint(seed=7)
    assert (cache_of(items), of(Done, items)[0].warnings) == ("hit", (NOT_KEPT,))


async def test_what_the_safety_system_found_is_not_kept(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, net=FakeNet(scores(0.0, 0.9, 0.1, 0.0))) as kit:
        told = [cache_of(await kit.paint(seed=7, n=2)) for _ in range(3)]
    assert told == ["miss", "miss", "hit"]


async def test_what_nobody_could_judge_is_not_kept_as_clean(tmp_path: Path) -> None:
    net = FakeNet(broken)
    async with gateway_kit(tmp_path, net=net, safety=Safety(failing="open")) as kit:
        unseen = await kit.paint(seed=7)
        assert len(of(Presented, unseen)) == 1
        net.scored = scores(0.0)
        told = [cache_of(await kit.paint(seed=7)) for _ in range(2)]
    assert (cache_of(unseen), told) == ("miss", ["miss", "hit"])


async def test_jobs_are_painted_and_neither_take_nor_leave_anything(kit: GatewayKit) -> None:
    async with painting(kit.tasks):
        for _ in range(2):
            accepted = await kit.tasks.submit(ask("a fox", seed=7), CALLER)
            await over(kit.tasks, accepted.id)
        told = [cache_of(await kit.paint("a fox", seed=7)) for _ in range(2)]
        accepted = await kit.tasks.submit(ask("a fox", seed=7), CALLER)
        await over(kit.tasks, accepted.id)
    assert told == ["miss", "hit"]
    assert kit.count("images_generated_total", model="demo") == 4
    assert [kit.count("result_lookups_total", outcome=outcome) for outcome in ("hit", "miss")] == [1, 1]


async def test_who_goes_away_half_way_leaves_nothing(kit: GatewayKit) -> None:
    items = kit.gateway.paint(ask(seed=7, n=2), CALLER)
    async for item in items:
        if isinstance(item, Presented):
            break
    await items.aclose()
    assert cache_of(await kit.paint(seed=7, n=2)) == "miss"
