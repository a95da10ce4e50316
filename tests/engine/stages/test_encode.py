"""Long prompts: split into chunks like compel and A1111, with positive and negative ones padded alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from compel import CompelForSDXL

from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.prompt import TextReading
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.stages.encode import encode_text
from tests.kit.engine import Studio, difference, studio
from tests.kit.engine import recipe as short
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import change_json, copy_of_demo
from tests.kit.reference import Reference
from tests.kit.spelt_chunks import Chunk, Told, told

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RED, BLUE = "red " * 74 + "circle", "a blue square"
LONG = TextReading(max_chunks=32)


def recipe(prompt: str, **changes: Any) -> Recipe:
    return short(prompt, reading=changes.pop("reading", LONG), **changes)


def spelt(*texts: str) -> list[Chunk]:
    return [[(text, 1.0)] for text in texts]


@pytest.fixture(scope="module")
def zeroed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A checkpoint where an absent negative prompt is encoded as zeros rather than as the empty text."""
    folder = copy_of_demo(tmp_path_factory.mktemp("zeroed") / "demo")
    change_json(folder / "model_index.json", force_zeros_for_empty_prompt=True)
    made = studio(tmp_path_factory.mktemp("data"), folder)
    yield made
    made.engine.close()


@pytest.mark.parametrize("negative", ["", "green", "green " * 160])
@pytest.mark.parametrize("prompt", ["red", RED + " " + BLUE, "red circle and " * 60])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pictures_are_those_of_compel(demo: Studio, reference: Reference, prompt: str, negative: str) -> None:
    compel = CompelForSDXL(reference.base)
    with torch.inference_mode():
        meant = compel(prompt, negative_prompt=negative)
    theirs = reference.paint_told(
        recipe(prompt),
        Told(meant.embeds, meant.pooled_embeds),
        Told(meant.negative_embeds, meant.negative_pooled_embeds),
    )
    assert difference(demo.paint(recipe(prompt, negative_prompt=negative)), theirs) <= 1


COMMAS = "red circle " * 33 + "and, two blue squares and a star, " + "green " * 50


def test_a_prompt_is_parted_after_its_commas(demo: Studio, reference: Reference) -> None:
    chunks = spelt("red circle " * 33 + "and,", " two blue squares and a star, " + "green " * 50)
    negative = spelt("a star", "")
    meant = reference.paint_told(recipe(COMMAS), told(reference.base, chunks), told(reference.base, negative))
    assert difference(demo.paint(recipe(COMMAS, negative_prompt="a star")), meant) <= 1


def test_clip_skip_and_a_blend_go_with_it(demo: Studio, tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "ink.safetensors", demo.folder, 1)
    reference = Reference(demo.folder)
    reference.base.load_lora_weights(lora, adapter_name="a")
    reference.base.set_adapters(["a"], adapter_weights=[0.8])
    wanted = recipe(
        COMMAS,
        negative_prompt="a star",
        blend=blend((admitted(lora, demo.data_directory), 0.8)),
        reading=replace(LONG, clip_skip=3),
    )
    chunks = spelt("red circle " * 33 + "and,", " two blue squares and a star, " + "green " * 50)
    negative = told(reference.base, spelt("a star", ""))
    meant = reference.paint_told(wanted, told(reference.base, chunks, clip_skip=3), negative)
    assert difference(demo.paint(wanted), meant) <= 1


def test_no_negative_prompt_is_zeros_of_that_length(zeroed: Studio) -> None:
    canvas = zeroed.engine.begin(recipe(RED + " " + BLUE), 0, NO_INPUTS)
    assert canvas.positive.tokens.shape == canvas.negative.tokens.shape == (1, 154, 160)
    assert not canvas.negative.tokens.any()


def test_one_chunk_is_read_as_ever(demo: Studio) -> None:
    checkpoint = demo.loaded().checkpoint
    with torch.inference_mode():
        for text in ("", "a red circle", RED):
            once, long = (encode_text(checkpoint, text, reading=reading) for reading in (TextReading(), LONG))
            assert torch.equal(once.tokens, long.tokens)
            assert torch.equal(once.pooled, long.pooled)


def test_canvases_of_other_lengths_do_not_share_a_step(demo: Studio) -> None:
    wanted = [recipe("a star"), recipe(RED + " " + BLUE), recipe("a circle", negative_prompt=RED + " " + BLUE)]
    keys = [demo.engine.begin(one, 0, NO_INPUTS).batch_key for one in wanted]
    assert keys[0] != keys[1] == keys[2]


def test_a_mixed_batch_of_long_prompts_paints_each_as_alone(demo: Studio) -> None:
    wanted = [recipe(COMMAS, seed=1), recipe(RED + " " + BLUE, seed=2, sampler="ddim", negative_prompt="red")]
    alone = [demo.paint(one) for one in wanted]
    canvases = [demo.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    while canvases[0].steps_done < canvases[0].steps_total:
        demo.engine.step(canvases)
    assert all(difference(*pair) <= 1 for pair in zip(demo.finish(canvases), alone, strict=True))


def test_where_it_was_parted_is_told(demo: Studio) -> None:
    (warning,) = demo.engine.begin(recipe(COMMAS), 0, NO_INPUTS).warnings
    assert warning == "The prompt is read in 2 parts; the later ones begin with: two blue squares and"
    assert demo.engine.begin(recipe("a star"), 0, NO_INPUTS).warnings == ()


def test_what_is_beyond_the_last_part_is_told(demo: Studio) -> None:
    wanted = recipe("red " * 75 + "blue " * 75 + "a green star", reading=TextReading(max_chunks=2))
    parted, cut = demo.engine.begin(wanted, 0, NO_INPUTS).warnings
    assert parted.startswith("The prompt is read in 2 parts;")
    assert cut == "The prompt is longer than 154 tokens; the model did not read: a green star"


def test_many_parts_are_told_in_a_few_words(demo: Studio) -> None:
    (warning,) = demo.engine.begin(recipe("red " * 75 * 20), 0, NO_INPUTS).warnings
    assert warning.endswith("red red red re...; ...")
    assert len(warning) < 400


WEIGHED = replace(LONG, syntax="a1111")
WRITTEN: list[tuple[str, list[Chunk]]] = [
    ("a (red:1.4) circle", [[("a", 1.0), ("red", 1.4), ("circle", 1.0)]]),
    ("((red)) [circle]", [[("red", 1.21), ("circle", 1 / 1.1)]]),
    ("(a red:0.3) circle (on blue:-0.5)", [[("a red", 0.3), ("circle", 1.0), ("on blue", -0.5)]]),
    ("(everything:1.5)", [[("everything", 1.5)]]),
    (r"a \(red\) circle", [[("a (red) circle", 1.0)]]),
    ("red circle BREAK (blue square:1.3)", [[("red circle", 1.0)], [("blue square", 1.3)]]),
    ("red BREAK", [[("red", 1.0)]]),
    ("BREAK red", [[], [("red", 1.0)]]),
    (
        "red circle " * 33 + "(and, two blue:1.2) squares and a star, " + "green " * 50,
        [
            [("red circle " * 33, 1.0), ("and,", 1.2)],
            [("two blue", 1.2), ("squares and a star, " + "green " * 50, 1.0)],
        ],
    ),
]


@pytest.mark.parametrize(("text", "chunks"), WRITTEN, ids=[text[:20] for text, _ in WRITTEN])
@pytest.mark.parametrize("negative", [None, "(green:1.5) star"])
def test_weights_are_those_of_a1111(
    demo: Studio, reference: Reference, text: str, chunks: list[Chunk], negative: str | None
) -> None:
    away: list[Chunk] = [[("green", 1.5), ("star", 1.0)]] if negative else [[]]
    away += [[]] * (len(chunks) - 1)
    wanted = recipe(text, negative_prompt=negative or "", reading=WEIGHED)
    meant = reference.paint_told(wanted, told(reference.base, chunks), told(reference.base, away))
    assert difference(demo.paint(wanted), meant) <= 1


def test_text_without_marks_is_read_as_ever(demo: Studio) -> None:
    for text in ("a red circle", "", COMMAS):
        assert demo.paint(recipe(text, reading=WEIGHED)) == demo.paint(recipe(text))


def test_plain_text_has_no_weights(demo: Studio) -> None:
    plain, weighed, without = (
        demo.paint(recipe(text, reading=reading))
        for text, reading in (("a (red:1.4) circle", LONG), ("a (red:1.4) circle", WEIGHED), ("a red circle", LONG))
    )
    assert len({plain.pixels, weighed.pixels, without.pixels}) == 3


def test_all_weights_of_nothing_paint_a_picture(demo: Studio) -> None:
    """The states of the start and end tokens remain, and are finite whatever their mean."""
    assert demo.paint(recipe("(red:0)", reading=WEIGHED)).pixels
