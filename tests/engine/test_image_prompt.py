"""IP-Adapter: pictures equal those of diffusers with the same files, and other pictures are not affected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_gateway.config import IpAdapter
from sdxl_gateway.core.errors import EngineFault, Unavailable
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import Recipe, Task
from tests.kit.engine import Studio, contrast, difference, mask, photo, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.ip_adapters import SIDE, image_prompt, referenced, section
from tests.kit.reference import Reference

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

ONE = photo(SIDE, SIDE)
OTHER = Picture(SIDE, SIDE, "RGB", bytes(reversed(ONE.pixels)))
THIRD = Picture(SIDE, SIDE, "RGB", bytes([200, 30, 90]) * (SIDE * SIDE))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "plus"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> IpAdapter:
    return section(tmp_path_factory.mktemp("adapter"), plus=request.param)


@pytest.fixture(scope="module")
def room(files: IpAdapter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    made = studio(tmp_path_factory.mktemp("data"), ip_adapter=files)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def theirs(room: Studio, files: IpAdapter) -> Reference:
    reference = Reference(room.folder)
    reference.load_ip_adapter(files)
    return reference


def check(room: Studio, theirs: Reference, wanted: Recipe, inputs: Inputs) -> None:
    ours = room.paint(wanted, inputs)
    assert contrast(ours) > 20
    assert difference(ours, theirs.paint(wanted, inputs)) <= 1
    plain = replace(wanted, image_prompt=None)
    assert difference(ours, room.paint(plain, inputs)) > 5


@pytest.mark.parametrize("weight", [0.35, 1.0])
@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_one_picture(room: Studio, theirs: Reference, weight: float, guidance_scale: float) -> None:
    wanted = recipe(guidance_scale=guidance_scale, negative_prompt="green", image_prompt=image_prompt(room, weight))
    check(room, theirs, wanted, referenced(ONE))


def test_several_pictures(room: Studio, theirs: Reference) -> None:
    wanted = recipe(image_prompt=image_prompt(room, 0.7, 0.7, 0.7), sampler="dpmpp_2m")
    check(room, theirs, wanted, referenced(ONE, OTHER, THIRD))


@pytest.mark.parametrize("task", [Task.IMAGE_TO_IMAGE, Task.INPAINT])
def test_pictures_that_start_from_pictures(room: Studio, theirs: Reference, task: Task) -> None:
    wanted = recipe(task=task, strength=0.8, steps=5, image_prompt=image_prompt(room, 0.8, 0.8))
    start = {"image": photo()} | ({"mask": mask()} if task is Task.INPAINT else {})
    check(room, theirs, wanted, referenced(OTHER, THIRD, **start))


def test_a_variation_from_noise(room: Studio, theirs: Reference) -> None:
    wanted = recipe("", task=Task.IMAGE_TO_IMAGE, strength=1.0, image_prompt=image_prompt(room, 1.0))
    check(room, theirs, wanted, referenced(ONE, image=photo()))


def test_with_a_blend_on(room: Studio, theirs: Reference, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "1.safetensors", room.folder, 1)
    theirs.base.load_lora_weights(path, adapter_name="a")
    theirs.base.set_adapters(["a"], adapter_weights=[0.8])
    on = blend((admitted(path, room.data_directory), 0.8))
    try:
        check(room, theirs, recipe(blend=on, image_prompt=image_prompt(room, 0.6)), referenced(ONE))
    finally:
        theirs.base.unload_lora_weights()
    check(room, theirs, recipe(image_prompt=image_prompt(room, 0.6)), referenced(ONE))


def test_in_a_batch_of_four_each_is_itself(room: Studio, theirs: Reference) -> None:
    wanted = [
        recipe("a star", seed=1, image_prompt=image_prompt(room, 0.4)),
        recipe("a tree", seed=2, steps=4),
        recipe("a house", seed=3, image_prompt=image_prompt(room, 1.1), sampler="euler_a"),
        recipe("a boat", seed=4),
    ]
    given = [referenced(ONE), NO_INPUTS, referenced(THIRD), NO_INPUTS]
    plain = Reference(room.folder)
    expected = [
        (plain if one.image_prompt is None else theirs).paint(one, inputs)
        for one, inputs in zip(wanted, given, strict=True)
    ]
    canvases = [room.engine.begin(one, 0, inputs) for one, inputs in zip(wanted, given, strict=True)]
    first, second, third, fourth = canvases
    assert first.batch_key == third.batch_key != second.batch_key == fourth.batch_key
    for batch in ([first, third], [second, fourth], [third, first], [fourth, second], [first, third]):
        room.engine.step(batch)
    for batch in ([second], [fourth, second]):
        room.engine.step(batch)
    for canvas, picture in zip(canvases, expected, strict=True):
        assert difference(room.engine.finish(canvas).result(), picture) <= 1


def test_after_a_neighbour_that_left(room: Studio, theirs: Reference) -> None:
    wanted = recipe(image_prompt=image_prompt(room, 0.6))
    stays = room.engine.begin(wanted, 0, referenced(ONE))
    leaves = room.engine.begin(recipe(image_prompt=image_prompt(room, 2.0)), 0, referenced(OTHER))
    room.engine.step([leaves, stays])
    while stays.steps_done < stays.steps_total:
        room.engine.step([stays])
    assert difference(room.engine.finish(stays).result(), theirs.paint(wanted, referenced(ONE))) <= 1


def test_pictures_without_references_are_the_same_bytes_as_ever(room: Studio, demo: Studio) -> None:
    wanted = recipe(negative_prompt="green")
    before = demo.paint(wanted)
    assert room.paint(wanted) == before
    processors = room.loaded().checkpoint.unet.attn_processors
    assert room.paint(replace(wanted, image_prompt=image_prompt(room, 1.0)), referenced(ONE)) != before
    assert room.paint(wanted) == before
    assert room.loaded().checkpoint.unet.attn_processors == processors


def test_a_step_that_fails_leaves_no_trace(room: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    before = room.paint(recipe())
    canvas = room.engine.begin(recipe(image_prompt=image_prompt(room, 1.0)), 0, referenced(ONE))
    with monkeypatch.context() as patch:
        patch.setattr("sdxl_gateway.engine.parts.image_prompt.linear", lambda *_: 1 / 0)
        with pytest.raises(EngineFault):
            room.engine.step([canvas])
    assert room.paint(recipe()) == before


def test_each_picture_has_a_weight_of_its_own(room: Studio) -> None:
    def painted(*weights: float) -> Picture:
        return room.paint(recipe(image_prompt=image_prompt(room, *weights)), referenced(ONE, OTHER))

    assert difference(painted(0.2, 1.0), painted(1.0, 0.2)) > 5
    assert difference(painted(0.6, 0.6), painted(0.6, 0.6001)) <= 1


def test_a_picture_is_encoded_once(room: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe(image_prompt=image_prompt(room, 0.6))
    first = room.paint(wanted, referenced(ONE))
    encoder = room.engine._pool.get("image_encoder", image_prompt(room).digest)
    monkeypatch.setattr(encoder, "forward", lambda *_, **__: 1 / 0)
    assert room.paint(wanted, referenced(ONE)) == first


def test_both_models_stand_on_the_ledger_and_leave_when_room_is_wanted(files: IpAdapter, tmp_path: Path) -> None:
    made = studio(tmp_path, ip_adapter=files)
    pool, wanted = made.engine._pool, recipe(image_prompt=image_prompt(made, 0.6))
    (digest,) = pool.loaders["ip_adapter"].names
    keys = {("ip_adapter", digest), ("image_encoder", digest)}
    assert not keys & set(pool.ledger.keys("vram"))
    before = pool.ledger.held_bytes("vram")
    made.engine.prefetch(wanted).result(timeout=60)
    assert keys <= set(pool.ledger.keys("vram"))
    assert all(pool.ledger.pinned(key) for key in keys)
    encoder, adapter = pool.get("image_encoder", digest), pool.get("ip_adapter", digest)
    weights = [*encoder.parameters(), *adapter.projection.parameters(), *(w for pair in adapter.layers for w in pair)]
    assert pool.ledger.held_bytes("vram") - before == sum(weight.nbytes for weight in weights)
    first = made.paint(wanted, referenced(ONE))
    made.engine.release(wanted)
    assert not any(pool.ledger.pinned(key) for key in keys)
    pool.ledger.hold("vram", "adapters", (pool.ledger.free_bytes("vram") or 0) + 1)
    pool.ledger.hold("vram", "more", (pool.ledger.free_bytes("vram") or 0) + 1)
    assert not keys & set(pool.ledger.keys("vram"))
    pool.ledger.drop("vram", "adapters")
    assert made.paint(wanted, referenced(ONE)) == first
    made.engine.close()


def test_recipes_that_cannot_be_painted(room: Studio, demo: Studio) -> None:
    wanted = recipe(image_prompt=image_prompt(room, 0.6))
    with pytest.raises(EngineFault, match="IP-Adapter"):
        demo.paint(wanted, referenced(ONE))
    with pytest.raises(EngineFault, match="missing"):
        room.paint(recipe(image_prompt=image_prompt(room, 0.6)))
    with pytest.raises(Unavailable, match="IP-Adapter of this picture was changed"):
        room.paint(recipe(image_prompt=replace(image_prompt(room, 0.6), digest="0")), referenced(ONE))
    assert difference(room.paint(wanted, referenced(ONE)), room.paint(wanted, referenced(ONE))) == 0
