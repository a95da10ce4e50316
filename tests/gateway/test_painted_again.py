"""A recipe of an earlier reply, sent back, resolves to the same recipe, or is refused naming what changed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.admission.resolve import Admission
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import ReadAsk, read_ask
from sdxl_gateway.config import Checkpoint, HouseStyle, Limits, LoraWeight, RolloutArm
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import InvalidRequest, RecipeChanged
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.delivery.receipt import receipt
from tests.kit.admission import AdmissionKit, admission_kit, demo, lora_file
from tests.kit.decoders import decoders
from tests.kit.embedding_files import write_embedding
from tests.kit.gateway import noise, upload
from tests.kit.lora_files import write
from tests.kit.mattes import PartMatte

SIDECARS = {
    "ink": 'weight = 0.7\nsteps = 9\ntrigger_words = ["inky"]\nadd_trigger_words = true',
    "watercolor": "weight = 0.4\ntext_encoder_weight = 0.2",
}
ARMS = (
    RolloutArm(target="demo", share=10),
    RolloutArm(target="storybook", share=90),
    RolloutArm(target="watercolor", share=0),
)
STYLES = {
    "storybook": HouseStyle(loras=(LoraWeight(name="ink"),), size="512x128", negative_prompt="blurry", steps=24),
    "fresh": HouseStyle(rollout=ARMS),
}
HOLED = upload(noise((128, 128), hole=(0, 0, 64, 64)))
WHOLE = upload(noise((192, 128)))
ODD = upload(noise((201, 103)))
LARGE = upload(noise((2300, 2001), hole=(300, 300, 340, 350)))
OTHER = upload(noise((192, 128)))
ASKS: list[tuple[Operation, dict[str, Any]]] = [
    (Operation.GENERATE, {}),
    (Operation.GENERATE, {"model": "storybook+watercolor:0.3", "n": 3, "quality": "high"}),
    (Operation.GENERATE, {"model": "fresh"}),
    (Operation.GENERATE, {"model": "fresh+watercolor"}),
    (Operation.GENERATE, {"model": "ink", "size": "2048x1024", "sampler": "Euler a", "schedule": "trailing"}),
    (Operation.GENERATE, {"prompt": "a fox <lora:ink:-0.3:lbw=1,1,0,0,0,1,1,0.5,1,1,1,1>", "negative_prompt": "grey"}),
    (Operation.GENERATE, {"loras": [{"name": "watercolor", "weight": 0.1, "text_encoder_weight": 0}], "cfg_scale": 1}),
    (Operation.GENERATE, {"sampler": "DPM++ 2M SDE Karras", "guidance_rescale": 0.7}),
    (Operation.GENERATE, {"cfg": 5, "guidance_end": 0.6}),
    (Operation.GENERATE, {"sampler": "tcd", "schedule": "sgm_uniform", "eta": 0.3}),
    (Operation.GENERATE, {"model": "storybook", "sampler": "ddim", "eta": 1}),
    (Operation.GENERATE, {"prompt": "a (fox:1.2)", "prompt_syntax": "a1111", "clip_skip": 3, "long_prompts": False}),
    (Operation.GENERATE, {"model": "ink", "negative_prompt": "(grey)", "prompt_syntax": "a1111"}),
    (Operation.GENERATE, {"model": "ink", "style": "vivid", "negative_prompt": "grey"}),
    (Operation.EDIT, {"image": HOLED.data, "strength": 0.5}),
    (Operation.EDIT, {"image": WHOLE.data, "model": "ink:2"}),
    (Operation.VARY, {"image": WHOLE.data, "model": "ink"}),
    (Operation.VARY, {"image": ODD.data}),
    (Operation.EDIT, {"image": ODD.data, "padding": {"left": 64, "bottom": 7}, "seam": 3, "inpaint_padding": 32}),
    (Operation.EDIT, {"image": LARGE.data}),
]


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    return admission_kit(tmp_path, SIDECARS, models=STYLES)


def read(operation: Operation, **fields: Any) -> ReadAsk:
    if isinstance(fields.get("image"), bytes):
        fields["image"] = base64.b64encode(fields["image"]).decode()
    if operation is not Operation.VARY and "recipe" not in fields:
        fields.setdefault("prompt", "a cat")
    return read_ask(operation, fields, Rules(Limits()))


async def resolved(home: AdmissionKit, operation: Operation, **fields: Any) -> Recipe:
    read_one = read(operation, **fields)
    assert read_one.ignored == ()
    return (await home.admission.resolve(read_one.ask)).recipe


def told(recipe: Recipe) -> dict[str, Any]:
    """As it came in the reply of the second picture."""
    found: dict[str, Any] = json.loads(json.dumps(receipt(recipe, seed=recipe.seed + 1, version="1")))
    return found


@pytest.mark.parametrize(("operation", "fields"), ASKS)
async def test_it_resolves_to_the_same(home: AdmissionKit, operation: Operation, fields: dict[str, Any]) -> None:
    first = await resolved(home, operation, **fields)
    picture = {"image": fields["image"]} if "image" in fields else {}
    again = await resolved(home, operation, recipe=told(first), **picture)
    assert again == replace(first, seed=first.seed + 1, count=1)
    as_text = await resolved(home, operation, recipe=json.dumps(told(first)), **picture)
    assert as_text == again


async def test_the_prompt_is_final_whatever_a_lora_says_now(home: AdmissionKit, tmp_path: Path) -> None:
    first = await resolved(home, Operation.GENERATE, model="ink", prompt="a fox")
    assert first.prompt == "inky, a fox"
    side_car = tmp_path / "loras" / "ink.toml"
    side_car.write_text('trigger_words = ["sharp"]\nadd_trigger_words = true\nsteps = 3')
    home.adapters.scan()
    assert (await resolved(home, Operation.GENERATE, recipe=told(first))).prompt == "inky, a fox"
    with_another = await resolved(home, Operation.GENERATE, recipe=told(first), prompt="a dog")
    assert (with_another.prompt, with_another.steps) == ("sharp, a dog", 9)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"cfg": 2.0}, {"guidance_scale": 2.0}),
        ({"width": 256, "height": 128}, {"width": 256, "height": 128}),
        ({"seed": 5, "steps": 2}, {"seed": 5, "steps": 2}),
        ({"n": 4}, {"count": 4}),
    ],
)
async def test_what_stands_beside_it_goes_before(
    home: AdmissionKit, fields: dict[str, Any], kept: dict[str, Any]
) -> None:
    first = await resolved(home, Operation.GENERATE, model="ink")
    again = await resolved(home, Operation.GENERATE, recipe=told(first), **fields)
    assert {name: getattr(again, name) for name in kept} == kept
    assert again.blend == first.blend


async def test_a_lora_that_is_another_file_now(home: AdmissionKit, tmp_path: Path) -> None:
    first = told(await resolved(home, Operation.GENERATE, model="demo+watercolor+ink:0.2"))
    write(tmp_path / "loras" / "watercolor.safetensors", lora_file("another"))
    home.adapters.scan()
    place = [lora["name"] for lora in first["loras"]].index("watercolor")
    with pytest.raises(RecipeChanged, match="'watercolor' is another file now") as refused:
        await resolved(home, Operation.GENERATE, recipe=first)
    assert refused.value.param == f"recipe.loras[{place}].digest"
    again = await resolved(home, Operation.GENERATE, recipe=first, loras=["watercolor"])
    assert [part.name for part in again.blend.parts] == ["watercolor"]


async def test_a_lora_that_is_gone(home: AdmissionKit, tmp_path: Path) -> None:
    first = told(await resolved(home, Operation.GENERATE, model="ink"))
    (tmp_path / "loras" / "ink.safetensors").unlink()
    home.adapters.scan()
    with pytest.raises(RecipeChanged, match="'ink'") as refused:
        await resolved(home, Operation.GENERATE, recipe=first)
    assert refused.value.param == "recipe.loras[0]"


async def test_a_checkpoint_that_is_another_one_now(home: AdmissionKit) -> None:
    first = told(await resolved(home, Operation.GENERATE, model="ink"))
    changed = Admission(home.settings, {"demo": replace(demo(), digest="0" * 64)}, home.adapters, decoders())
    with pytest.raises(RecipeChanged, match="'demo' is another one now") as refused:
        await changed.resolve(read(Operation.GENERATE, recipe=first).ask)
    assert refused.value.param == "recipe.checkpoint_digest"


@pytest.fixture
def refining(home: AdmissionKit) -> AdmissionKit:
    """With a refiner of the demo."""
    return with_refiner(home, "f1" * 32)


def with_refiner(home: AdmissionKit, digest: str) -> AdmissionKit:
    checkpoints = {"demo": demo(), "fine": replace(demo(), name="fine", digest=digest, refines=True)}
    sections = {"demo": replaced(home, refiner="fine"), "fine": replaced(home)}
    settings = home.settings.model_copy(update={"checkpoints": sections})
    return replace(home, admission=Admission(settings, checkpoints, home.adapters, decoders()))


def replaced(home: AdmissionKit, **changes: Any) -> Checkpoint:
    return home.settings.checkpoints["demo"].model_copy(update=changes)


@pytest.mark.parametrize("fields", [{"refiner": True}, {"refiner": "Fine", "refiner_at": 0.35, "model": "ink"}])
async def test_a_refiner_takes_the_same_steps(refining: AdmissionKit, fields: dict[str, Any]) -> None:
    first = await resolved(refining, Operation.GENERATE, **fields)
    assert first.later_phases
    assert await resolved(refining, Operation.GENERATE, recipe=told(first)) == replace(first, seed=first.seed + 1)
    assert (await resolved(refining, Operation.GENERATE, recipe=told(first), refiner=False)).later_phases == ()


async def test_a_refiner_that_is_another_one_now(refining: AdmissionKit) -> None:
    first = told(await resolved(refining, Operation.GENERATE, refiner=True))
    changed = with_refiner(refining, "f2" * 32)
    with pytest.raises(RecipeChanged, match="refiner is another one now") as refused:
        await resolved(changed, Operation.GENERATE, recipe=first)
    assert refused.value.param == "recipe.refiner_digest"
    assert (await resolved(changed, Operation.GENERATE, recipe=first, refiner=True)).later_phases


async def test_a_checkpoint_that_is_gone(home: AdmissionKit) -> None:
    first = told(await resolved(home, Operation.GENERATE)) | {"checkpoint": "gone"}
    with pytest.raises(RecipeChanged, match="is gone") as refused:
        await home.admission.resolve(read(Operation.GENERATE, recipe=first).ask)
    assert refused.value.param == "recipe.checkpoint"


async def test_a_matte_model_that_is_another_one_now(home: AdmissionKit) -> None:
    def with_matte(digest: str) -> Admission:
        matte = PartMatte(digest * 64)
        return Admission(home.settings, home.checkpoints, home.adapters, decoders(), matte=matte)

    asked = read(Operation.GENERATE, background="transparent", output_format="webp").ask
    first = (await with_matte("a").resolve(asked)).recipe
    again = read(Operation.GENERATE, recipe=told(first)).ask
    assert (await with_matte("a").resolve(again)).recipe == replace(first, seed=first.seed + 1)
    with pytest.raises(RecipeChanged, match="matte model is another one now") as refused:
        await with_matte("b").resolve(again)
    assert refused.value.param == "recipe.matte_digest"
    opaque = read(Operation.GENERATE, recipe=told(first), background="opaque").ask
    assert (await with_matte("b").resolve(opaque)).recipe.background == "opaque"


def test_a_recipe_of_a_transparent_picture_makes_no_jpeg() -> None:
    recipe = {"task": "text_to_image", "prompt": "a", "background": "transparent"}
    with pytest.raises(InvalidRequest, match="JPEG holds no transparency") as refused:
        read(Operation.GENERATE, recipe=recipe, output_format="jpeg")
    assert refused.value.param == "recipe.background"


async def test_an_embedding_that_is_another_file_now(home: AdmissionKit) -> None:
    folder = home.settings.embeddings.directory
    write_embedding(folder / "sks.safetensors")
    home.embeddings.scan()
    wanted = {"prompt": "a sks cat", "negative_prompt": "grey"}
    first = await resolved(home, Operation.GENERATE, **wanted)
    again = await resolved(home, Operation.GENERATE, recipe=told(first))
    assert again.reading == first.reading != (await resolved(home, Operation.GENERATE)).reading
    for change in (lambda: write_embedding(folder / "sks.safetensors", 2), (folder / "sks.safetensors").unlink):
        change()
        home.embeddings.scan()
        with pytest.raises(RecipeChanged, match="'sks'") as refused:
            await resolved(home, Operation.GENERATE, recipe=told(first))
        assert refused.value.param == "recipe.embeddings"
    assert (await resolved(home, Operation.GENERATE, recipe=told(first), prompt="a sks dog")).reading.embeddings == ()


async def test_another_picture_to_start_from(home: AdmissionKit) -> None:
    first = told(await resolved(home, Operation.EDIT, image=WHOLE.data))
    with pytest.raises(RecipeChanged, match="another 'image'") as refused:
        await resolved(home, Operation.EDIT, recipe=first, image=OTHER.data)
    assert refused.value.param == "recipe.inputs"
    del first["inputs"]
    again = await resolved(home, Operation.EDIT, recipe=first, image=OTHER.data)
    assert again.seed == first["seed"]


BAD: list[tuple[Operation, Any, str]] = [
    (Operation.GENERATE, 7, "recipe"),
    (Operation.GENERATE, [], "recipe"),
    (Operation.GENERATE, "{", "recipe"),
    (Operation.GENERATE, "[" * 100_000, "recipe"),
    (Operation.GENERATE, "x" * 300_000, "recipe"),
    (Operation.GENERATE, {}, "recipe.task"),
    (Operation.GENERATE, {"task": 7}, "recipe.task"),
    (Operation.GENERATE, {"task": ["text_to_image"]}, "recipe.task"),
    (Operation.GENERATE, {"task": "sculpture"}, "recipe.task"),
    (Operation.GENERATE, {"task": "inpaint"}, "recipe.task"),
    (Operation.EDIT, {"task": "text_to_image"}, "recipe.task"),
    (Operation.GENERATE, {"task": "text_to_image"}, "prompt"),
    (Operation.GENERATE, {"task": "text_to_image", "prompt": 7}, "recipe.prompt"),
    (Operation.GENERATE, {"task": "text_to_image", "prompt": "a", "steps": 0}, "recipe.steps"),
    (Operation.GENERATE, {"task": "text_to_image", "prompt": "a", "checkpoint": 7}, "recipe.model"),
    (
        Operation.GENERATE,
        {"task": "text_to_image", "prompt": "a", "checkpoint": "a", "checkpoint_digest": 7},
        "recipe.checkpoint_digest",
    ),
    (
        Operation.GENERATE,
        {"task": "text_to_image", "prompt": "a", "checkpoint": "a", "checkpoint_digest": "a"},
        "recipe.checkpoint_digest",
    ),
    (
        Operation.GENERATE,
        {"task": "text_to_image", "prompt": "a", "loras": [{"name": "a", "digest": "b"}]},
        "recipe.loras[0].digest",
    ),
    (
        Operation.GENERATE,
        {"task": "text_to_image", "prompt": "a", "loras": [{"name": "a", "weight": 9}]},
        "recipe.loras[0].weight",
    ),
    (Operation.EDIT, {"task": "inpaint", "prompt": "a", "inputs": []}, "recipe.inputs"),
    (Operation.EDIT, {"task": "inpaint", "prompt": "a", "inputs": {"image": 7}}, "recipe.inputs.image"),
]


@pytest.mark.parametrize(("operation", "recipe", "param"), BAD)
def test_what_is_no_recipe(operation: Operation, recipe: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(operation, recipe=recipe, **({"image": WHOLE.data} if operation is Operation.EDIT else {}))
    assert refused.value.param == param


def test_what_a_recipe_says_beyond_the_fields_is_named() -> None:
    recipe = {"task": "text_to_image", "prompt": "a", "mood": "grim"}
    assert read(Operation.GENERATE, recipe=recipe).ignored == ("recipe.mood",)


GONE = [("fresh", "gone"), ("gone", "demo"), ("storybook", "demo"), ("fresh", "watercolor")]


@pytest.mark.parametrize(("rollout", "arm"), GONE)
async def test_an_arm_that_is_gone_or_paints_something_else(home: AdmissionKit, rollout: str, arm: str) -> None:
    """The picture is the same all the same."""
    first = await resolved(home, Operation.GENERATE, model="fresh")
    said = told(first) | {"rollout": {"name": rollout, "arm": arm}}
    again = await home.admission.resolve(read(Operation.GENERATE, recipe=said).ask)
    assert again.recipe == replace(first, seed=first.seed + 1, count=1, arm=None)
    assert any("counts for no arm" in warning for warning in again.warnings)


NO_ARMS = ["fresh", {"name": "fresh"}, {"name": 1, "arm": "demo"}, {"name": "a" * 201, "arm": "b"}]


@pytest.mark.parametrize("arm", NO_ARMS)
async def test_an_arm_that_is_none(home: AdmissionKit, arm: object) -> None:
    first = told(await resolved(home, Operation.GENERATE, model="fresh"))
    with pytest.raises(InvalidRequest) as refused:
        read(Operation.GENERATE, recipe=first | {"rollout": arm})
    assert (refused.value.param or "").startswith("recipe.rollout")
