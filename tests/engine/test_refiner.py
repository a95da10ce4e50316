"""A refiner takes the last steps, or paints from a picture, as diffusers' two pipelines do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.prompt import TextReading
from sdxl_gateway.core.recipe import NO_BLEND, Phase, Recipe, Task
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.engine.memory.ledger import VRAM
from sdxl_gateway.engine.parts.guidance import Guidance
from sdxl_gateway.engine.stages.encode import encode_text
from tests.kit.embedding_files import write_embedding
from tests.kit.engine import Studio, contrast, difference, photo, process_settings, recipe
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.reference import Reference
from tests.kit.spelt_chunks import Chunk, told
from tools.demo_refiner import write_demo_refiner

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

PHOTO = Inputs({"image": photo()})
FILES = ("grim", "sks")


@dataclass(frozen=True)
class House:
    """An engine with the demo and its refiner, and diffusers with both."""

    studio: Studio
    base: Reference
    refiner: Reference


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("models")
    refiner = write_demo_refiner(folder / "refiner")
    config = process_settings(folder, {"demo": Checkpoint(path="demo"), "fine": Checkpoint(path=str(refiner))})
    engine = open_engine(config, lambda _: None)
    yield House(Studio(engine, DEMO_MODEL, folder), Reference(DEMO_MODEL), Reference(refiner))
    engine.close()


def refined(share: float = 0.8, **changes: Any) -> Recipe:
    """A recipe with a refiner; `from_step` is a guess, which the engine replaces by the step of `share`."""
    phase = Phase("fine", "fine", NO_BLEND, from_step=1, from_share=share)
    return replace(recipe(steps=5, negative_prompt="green"), later_phases=(phase,), **changes)


def check(house: House, wanted: Recipe, share: float = 0.8, inputs: Inputs = NO_INPUTS) -> None:
    ours, theirs = house.studio.paint(wanted, inputs), house.base.refined(wanted, house.refiner, inputs, share)
    assert contrast(theirs) > 20
    assert difference(ours, theirs) <= 1
    assert difference(ours, house.studio.paint(replace(wanted, later_phases=()), inputs)) > 5


@pytest.mark.parametrize("share", [0.8, 0.5])
@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpmpp_2m", "unipc", "heun", "ddim"])
def test_the_last_steps(house: House, sampler: str, share: float) -> None:
    check(house, refined(share, sampler=sampler), share)


@pytest.mark.parametrize("schedule", ["karras", "leading"])
def test_the_step_is_found_on_every_schedule(house: House, schedule: str) -> None:
    wanted = refined(0.5, sampler="dpmpp_2m", schedule=schedule, steps=6)
    theirs = house.base.refined(wanted, house.refiner, share=0.5)
    assert difference(house.studio.paint(wanted), theirs) <= 1
    (phase,) = house.studio.engine.begin(wanted, 0, NO_INPUTS).recipe.later_phases
    assert phase.from_step == (5 if schedule == "karras" else 3)


@pytest.mark.parametrize("guidance_scale", [1.0, 8.0])
def test_guidance_on_and_off(house: House, guidance_scale: float) -> None:
    check(house, refined(guidance_scale=guidance_scale, negative_prompt=""))


def test_after_an_image_to_image(house: House) -> None:
    check(house, refined(0.6, task=Task.IMAGE_TO_IMAGE, strength=0.8), 0.6, PHOTO)


def test_a_detail_pass_is_the_refiners(house: House) -> None:
    wanted = refined(0.6)
    plain, ours = house.studio.paint(wanted), house.studio.paint(replace(wanted, detail=0.5))
    over = recipe(task=Task.IMAGE_TO_IMAGE, strength=0.5, steps=5, negative_prompt="green")
    assert difference(ours, house.refiner.paint(over, Inputs({"image": plain}))) <= 1
    assert difference(ours, plain) > 5


@pytest.mark.parametrize("strength", [0.3, 0.8])
def test_a_whole_picture(house: House, strength: float) -> None:
    wanted = recipe(task=Task.IMAGE_TO_IMAGE, strength=strength, steps=5, checkpoint="fine", negative_prompt="green")
    assert difference(house.studio.paint(wanted, PHOTO), house.refiner.paint(wanted, PHOTO)) <= 1


def test_a_blend_is_on_for_the_first_model_alone(house: House, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", DEMO_MODEL, 1)
    on = blend((admitted(path, house.studio.data_directory), 0.8))
    theirs = Reference(DEMO_MODEL)
    theirs.base.load_lora_weights(path, adapter_name="a")
    theirs.base.set_adapters(["a"], [0.8])
    wanted = refined(0.6, blend=on)
    ours = house.studio.paint(wanted)
    assert difference(ours, theirs.refined(wanted, house.refiner, share=0.6)) <= 1
    assert difference(ours, house.studio.paint(refined(0.6))) > 5


RED = "red circle " * 33
GREEN = "squares and a star, " + "green " * 50
WRITTEN = f"{RED}(and, two blue:1.2) {GREEN}"
CHUNKS: list[Chunk] = [[(RED, 1.0), ("and,", 1.2)], [("two blue", 1.2), (GREEN, 1.0)]]
AWAY: list[Chunk] = [[("green", 1.0)], []]


def test_it_reads_the_same_texts_in_the_same_way(house: House) -> None:
    reading = TextReading(clip_skip=3, max_chunks=32, syntax="a1111")
    wanted = replace(refined(0.6), prompt=WRITTEN, reading=reading)
    own, its = ((told(one.base, CHUNKS, clip_skip=3), told(one.base, AWAY)) for one in (house.base, house.refiner))
    theirs = house.base.refined_told(wanted, house.refiner, own, its, share=0.6)
    assert difference(house.studio.paint(wanted), theirs) <= 1


def handed_over(house: House, wanted: Recipe) -> Tensor:
    """The embeddings that the refiner is given, (1, tokens, width)."""
    canvas = house.studio.engine.begin(wanted, 0, NO_INPUTS)
    while canvas.checkpoint.name != "fine":
        house.studio.engine.step([canvas])
    return canvas.positive.tokens


def test_words_of_files_reach_it_and_those_of_loras_do_not(house: House, tmp_path: Path) -> None:
    vectors = write_embedding(tmp_path / "sks.safetensors", 1)
    write_embedding(tmp_path / "grim.safetensors", 2, clip_l=2)
    taught = tuple((word, admitted(tmp_path / f"{word}.safetensors", house.studio.data_directory)) for word in FILES)
    lora = write_lora(tmp_path / "words.safetensors", DEMO_MODEL, 1)
    save_file(load_file(lora) | {"bundle_emb.wash.clip_g": vectors["clip_g"] * -1}, lora)
    on = blend((admitted(lora, house.studio.data_directory), 0.8))
    wanted = replace(refined(0.6, blend=on), prompt="sks grim wash", reading=TextReading(embeddings=taught))
    found = handed_over(house, wanted)
    checkpoint = house.studio.engine._pool.checkpoint("fine").checkpoint
    with torch.inference_mode():
        meant = encode_text(checkpoint, "sks grim wash", {"sks": {"text_encoder_2": vectors["clip_g"]}})
        plain = encode_text(checkpoint, "sks grim wash")
    assert torch.equal(found, meant.tokens)
    assert not torch.equal(found, plain.tokens)


def test_a_mixed_batch_of_four_and_a_neighbour_that_leaves(house: House) -> None:
    """One is dropped amid its steps, one has no refiner, and two are handed over at different steps."""
    wanted = [refined(0.6, seed=1), refined(0.4, seed=2, sampler="euler_a"), recipe(steps=5, seed=3), refined(seed=4)]
    canvases = [house.studio.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    for _ in range(2):
        house.studio.engine.step(canvases)
    left = canvases[:3]
    while going := [canvas for canvas in left if canvas.steps_done < canvas.steps_total]:
        for key in {canvas.batch_key: None for canvas in going}:
            house.studio.engine.step([canvas for canvas in going if canvas.batch_key == key])
    pictures = house.studio.finish(left)
    theirs = [
        house.base.refined(wanted[0], house.refiner, share=0.6),
        house.base.refined(wanted[1], house.refiner, share=0.4),
        house.base.paint(wanted[2]),
    ]
    assert [difference(*pair) <= 1 for pair in zip(pictures, theirs, strict=True)] == [True] * 3


def test_both_models_take_a_step_wherever_the_share_lies(house: House) -> None:
    for share in (0.001, 0.999):
        canvas = house.studio.engine.begin(refined(share), 0, NO_INPUTS)
        (phase,) = canvas.recipe.later_phases
        assert phase.from_step == (1 if share < 0.5 else 4)
        while canvas.steps_done < canvas.steps_total:
            house.studio.engine.step([canvas])
        assert canvas.checkpoint.name == "fine"
        assert contrast(house.studio.engine.finish(canvas).result()) > 20


def test_a_refiner_that_left_comes_back(house: House) -> None:
    pool, wanted = house.studio.engine._pool, refined(0.6)
    before = house.studio.paint(wanted)
    pool.get("checkpoint", "demo")
    pool.ledger.drop(VRAM, ("checkpoint", "fine"))
    pool._evicted(("checkpoint", "fine"))
    assert house.studio.paint(wanted) == before


def test_a_hand_over_that_fails_is_begun_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = refined(0.6)
    canvas = house.studio.engine.begin(wanted, 0, NO_INPUTS)
    for _ in range(3):
        house.studio.engine.step([canvas])
    with monkeypatch.context() as broken:
        broken.setattr(Guidance, "handed_over", _broken)
        with pytest.raises(EngineFault):
            house.studio.engine.step([canvas])
    while canvas.steps_done < canvas.steps_total:
        house.studio.engine.step([canvas])
    assert house.studio.engine.finish(canvas).result() == house.studio.paint(wanted)


def _broken(*_: object) -> None:
    raise RuntimeError("out of luck")
