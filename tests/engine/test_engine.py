"""The engine as its port specifies: canvases, batch keys, previews, embeddings, warnings, measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sdxl_gateway.core.events import MemoryHeld, StageTimed, StepTaken
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.ports import Engine
from sdxl_gateway.core.prompt import PLAIN_READING
from sdxl_gateway.core.recipe import Blend, BlendPart, Recipe, Task
from sdxl_gateway.core.samplers import SAMPLERS
from sdxl_gateway.engine.canvas import Canvas, Embedding
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.stages import encode, looks
from sdxl_gateway.engine.stages.encode import EmbeddingCache, EmbeddingKey, Text, encode_texts
from tests.kit.device import DEVICE
from tests.kit.engine import Studio, contrast, difference, mask, photo, pixels, recipe

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

OTHER = Blend.of([BlendPart("f" * 64, 1.0, 0.0)])
TEXT_ONLY = Blend.of([BlendPart("f" * 64, 0.0, 1.0)])


def key(demo: Studio, wanted: Recipe) -> object:
    """The batch key, without reading the blend's files."""
    canvas = demo.engine.begin(replace(wanted, blend=recipe().blend), 0, NO_INPUTS)
    return replace_recipe(canvas, wanted).batch_key


def replace_recipe(canvas: Canvas, wanted: Recipe) -> Canvas:
    canvas.recipe = wanted
    return canvas


@pytest.mark.parametrize(
    "like",
    [
        recipe("other words", seed=9, steps=9, sampler="ddim", guidance_scale=3.0, negative_prompt="x"),
        recipe(blend=TEXT_ONLY),
    ],
)
def test_canvases_that_may_share_a_step(demo: Studio, like: Recipe) -> None:
    assert key(demo, like) == key(demo, recipe())


@pytest.mark.parametrize(
    "unlike",
    [
        recipe(width=96),
        recipe(height=96),
        recipe(guidance_scale=1.0),
        recipe(blend=OTHER),
        replace(recipe(), checkpoint_digest="another"),
    ],
)
def test_canvases_that_may_not_share_a_step(demo: Studio, unlike: Recipe) -> None:
    assert key(demo, unlike) != key(demo, recipe())


def test_it_is_an_engine(demo: Studio) -> None:
    engine: Engine[Canvas] = demo.engine
    canvas = engine.begin(recipe(steps=2), 0, NO_INPUTS)
    assert (canvas.steps_done, canvas.steps_total) == (0, 2)
    engine.step([canvas])
    assert (canvas.steps_done, canvas.steps_total) == (1, 2)
    assert (demo.engine.device.partition(":")[0], demo.engine.dtype, demo.engine.checkpoints) == (
        DEVICE,
        "float32",
        ("demo",),
    )


@pytest.mark.parametrize("strength", [0.01, 0.34, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_edit_takes_the_steps_its_recipe_says(demo: Studio, sampler: str, strength: float) -> None:
    wanted = recipe(task=Task.IMAGE_TO_IMAGE, sampler=sampler, strength=strength, steps=6)
    canvas = demo.engine.begin(wanted, 0, Inputs({"image": photo()}))
    assert canvas.steps_total == wanted.denoise_steps


def test_a_weak_edit_still_paints(demo: Studio) -> None:
    start = photo()
    weak, strong = [
        demo.paint(recipe(task=Task.IMAGE_TO_IMAGE, strength=strength, steps=6), Inputs({"image": start}))
        for strength in (0.01, 1.0)
    ]
    assert difference(weak, strong) > 20


def test_a_grey_picture_to_start_from(demo: Studio) -> None:
    grey = photo()
    level = pixels(grey)[:, :, :1]
    as_grey = Picture(grey.width, grey.height, "L", level.tobytes())
    as_rgb = Picture(grey.width, grey.height, "RGB", level.repeat(3, axis=2).tobytes())
    wanted = recipe(task=Task.IMAGE_TO_IMAGE, strength=0.5, steps=4)
    assert demo.paint(wanted, Inputs({"image": as_grey})) == demo.paint(wanted, Inputs({"image": as_rgb}))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_last_preview_is_nearly_the_picture(demo: Studio, sampler: str) -> None:
    canvas = demo.engine.begin(recipe(sampler=sampler, steps=4), 0, NO_INPUTS)
    before = demo.engine.preview(canvas).result()
    looks = []
    while canvas.steps_done < canvas.steps_total:
        demo.engine.step([canvas])
        looks.append(demo.engine.preview(canvas).result())
    picture = demo.engine.finish(canvas).result()
    assert (before.width, before.height) == (picture.width, picture.height)
    assert difference(looks[-1], picture) <= 2
    assert difference(looks[0], picture) > 2


@pytest.mark.parametrize("sampler", ["pndm", "deis", "tcd"])
def test_samplers_that_keep_the_clean_latents_to_themselves_are_previewed_alike(demo: Studio, sampler: str) -> None:
    wanted = [recipe(sampler=name, steps=4, schedule="trailing") for name in (sampler, "dpmpp_2m")]
    canvases = [demo.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    demo.engine.step(canvases)
    first, second = [demo.engine.preview(canvas).result() for canvas in canvases]
    assert contrast(first) > 20
    assert difference(first, second) <= 4


def test_a_preview_keeps_what_an_inpainting_keeps(demo: Studio) -> None:
    inputs = Inputs({"image": photo(), "mask": mask()})
    canvas = demo.engine.begin(recipe(task=Task.INPAINT, steps=4), 0, inputs)
    demo.engine.step([canvas])
    look, kept = pixels(demo.engine.preview(canvas).result()).astype(int), pixels(photo()).astype(int)
    left = slice(0, photo().width // 4)
    fully_painted = demo.engine.begin(recipe(steps=4), 0, NO_INPUTS)
    demo.engine.step([fully_painted])
    free = pixels(demo.engine.preview(fully_painted).result()).astype(int)
    assert abs(look[:, left] - kept[:, left]).mean() < abs(free[:, left] - kept[:, left]).mean()


def test_a_large_preview_is_decoded_small(demo: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "VAE_LATENTS", 16)
    canvas = demo.engine.begin(recipe(width=96, height=64), 0, NO_INPUTS)
    demo.engine.step([canvas])
    small = demo.engine.preview(canvas).result()
    monkeypatch.undo()
    assert (small.width, small.height) == (40, 24)
    assert contrast(small) > 0
    whole = demo.engine.preview(canvas).result()
    assert (whole.width, whole.height) == (96, 64)


def test_a_look_changes_nothing(demo: Studio) -> None:
    plain = demo.paint(recipe(sampler="euler_a"))
    canvas = demo.engine.begin(recipe(sampler="euler_a"), 0, NO_INPUTS)
    while canvas.steps_done < canvas.steps_total:
        demo.engine.preview(canvas).result()
        demo.engine.step([canvas])
    assert demo.engine.finish(canvas).result() == plain


def test_a_prompt_that_is_cut_is_told_of(demo: Studio) -> None:
    words = "a red circle " * 30 + "and the very last word"
    canvas = demo.engine.begin(recipe(words, negative_prompt=words), 0, NO_INPUTS)
    prompt, negative = canvas.warnings
    assert "prompt" in prompt
    assert "77" in prompt
    assert "negative_prompt" in negative
    assert demo.engine.begin(recipe(), 0, NO_INPUTS).warnings == ()


def test_a_negative_prompt_that_cannot_act_is_told_of(demo: Studio) -> None:
    (told,) = demo.engine.begin(recipe(negative_prompt="blue", guidance_scale=1.0), 0, NO_INPUTS).warnings
    assert "negative_prompt" in told
    assert demo.engine.begin(recipe(negative_prompt="blue", guidance_scale=1.1), 0, NO_INPUTS).warnings == ()


def test_texts_are_encoded_once(fresh: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def counting(checkpoint: Checkpoint, read: Sequence[Text]) -> list[Embedding]:
        texts.extend(one.text for one in read)
        return encode_texts(checkpoint, read)

    monkeypatch.setattr(encode, "encode_texts", counting)
    for wanted in (recipe("a", negative_prompt="n"), recipe("b", negative_prompt="n"), recipe("a"), recipe("n")):
        fresh.engine.begin(wanted, 0, NO_INPUTS)
    assert texts == ["a", "n", "b", ""]


def embedding(numbers: int) -> Embedding:
    return Embedding(torch.zeros(numbers), torch.zeros(0))


def test_the_embeddings_used_least_lately_go_first() -> None:
    cache: EmbeddingCache[EmbeddingKey, Embedding] = EmbeddingCache(max_bytes=4 * 10)
    made: list[str] = []

    def get(text: str, numbers: int) -> None:
        def make() -> Embedding:
            made.append(text)
            return embedding(numbers)

        cache.get(("demo", (), PLAIN_READING, text), make)

    for text, numbers in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("huge", 20), ("huge", 20)):
        get(text, numbers)
    assert made == ["a", "b", "c", "b", "huge", "huge"]


def test_stages_and_steps_are_measured(fresh: Studio) -> None:
    fresh.told.clear()
    canvases = [fresh.engine.begin(recipe(seed=seed, steps=1), 0, NO_INPUTS) for seed in (1, 2)]
    fresh.engine.step(canvases)
    fresh.engine.step([fresh.engine.begin(recipe(guidance_scale=1.0, steps=1), 0, NO_INPUTS)])
    fresh.engine.finish(canvases[0]).result()
    stages = [m.stage for m in fresh.told if isinstance(m, StageTimed)]
    assert stages == ["encode", "prepare"] * 3 + ["decode"]
    steps = [m for m in fresh.told if isinstance(m, StepTaken)]
    assert [(m.lanes, round(m.work * 1e6)) for m in steps] == [(2, 4 * 64 * 64), (1, 64 * 64)]
    assert all(m.seconds > 0 for m in steps)
    held = [m for m in fresh.told if isinstance(m, MemoryHeld)][-1]
    assert held.bytes_by_tier["vram"] > 1_000_000
    assert held.device_by_kind["checkpoint"] > 1_000_000
    assert sum(held.device_by_kind.values()) == held.bytes_by_tier["vram"]


def test_nothing_but_the_data_directory_is_written(fresh: Studio, tmp_path: Path) -> None:
    fresh.paint(recipe(steps=1))
    assert list(tmp_path.rglob("*.safetensors")) == []
