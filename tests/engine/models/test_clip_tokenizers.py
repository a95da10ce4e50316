"""CLIP's own tokenizers, made from the vocabulary in the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.config import DEMO_MODEL, SDXL_CONFIGS, Checkpoint
from sdxl_gateway.engine.models.clip_tokenizers import load_tokenizer
from tests.kit.engine import difference, recipe, studio_of
from tests.kit.model_folders import full_vocabulary_demo
from tests.kit.single_files import reference, write_single_file


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A  Photo of\na CAT", [320, 1125, 539, 320, 2368]),
        ("hello world", [3306, 1002]),
        ("", []),
    ],
)
def test_the_ids_openai_gives(text: str, ids: list[int]) -> None:
    for name in ("tokenizer", "tokenizer_2"):
        assert load_tokenizer(SDXL_CONFIGS, name)(text).input_ids == [49406, *ids, 49407]


def test_an_exclamation_mark_is_padding_to_the_second_as_in_diffusers() -> None:
    first, second = (load_tokenizer(SDXL_CONFIGS, name)("hello!").input_ids for name in ("tokenizer", "tokenizer_2"))
    assert (first[2], second[2]) == (256, 0)


def test_the_second_pads_with_id_0() -> None:
    first, second = (load_tokenizer(SDXL_CONFIGS, name) for name in ("tokenizer", "tokenizer_2"))
    assert (len(first), len(second)) == (49408, 49408)
    assert (first.model_max_length, first.pad_token_id, second.pad_token_id) == (77, 49407, 0)


def test_a_folder_brings_its_own() -> None:
    assert len(load_tokenizer(DEMO_MODEL, "tokenizer")) == 747


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_picture_diffusers_paints_with_them(tmp_path: Path) -> None:
    folder = full_vocabulary_demo(tmp_path / "configs")
    path = write_single_file(tmp_path / "one.safetensors", folder)
    made = studio_of(Checkpoint(path=str(path), config=str(folder)), tmp_path)
    wanted = recipe("a lighthouse at dusk! oil painting", negative_prompt="blurry, 低质量", guidance_scale=4.0, steps=3)
    ours = made.paint(wanted)
    for name in ("tokenizer", "tokenizer_2"):
        load_tokenizer(SDXL_CONFIGS, name).save_pretrained(folder / name)
    assert difference(ours, reference(path, folder).paint(wanted)) <= 1
    made.engine.close()
