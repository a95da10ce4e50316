"""What a request says about its prompts' reading: whose word counts, and what is refused under which field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.config import Checkpoint, HouseStyle, Limits, LoraWeight, Prompts, Style
from sdxl_gateway.core.errors import InvalidRequest
from tests.kit.admission import DEMO, AdmissionKit, admission_kit
from tests.kit.embedding_files import write_embedding


async def test_the_clip_skip_of_request_style_lora_and_checkpoint(tmp_path: Path) -> None:
    home = admission_kit(
        tmp_path,
        {"told": "clip_skip = 3", "deep": "clip_skip = 12", "ink": ""},
        checkpoints={"demo": DEMO, "last": Checkpoint(path="demo", clip_skip=1)},
        models={"usual": HouseStyle(clip_skip=2, loras=(LoraWeight(name="told"),))},
    )

    async def of(model: str, **fields: Any) -> int:
        return (await home.admit(model=model, **fields)).recipe.reading.clip_skip

    assert [await of(name) for name in ("demo", "ink", "last", "told", "usual", "last+told")] == [2, 2, 1, 3, 2, 3]
    assert await of("told", clip_skip=1) == 1
    # The demo's encoders have three layers: what is only recommended is cut, so that nobody's request fails for it.
    assert await of("deep") == 3
    with pytest.raises(InvalidRequest, match="have 3 layers") as refused:
        await of("demo", clip_skip=4)
    assert refused.value.param == "clip_skip"


async def test_long_prompts_are_read_unless_they_are_to_be_cut(tmp_path: Path) -> None:
    async def chunks(long_prompts: bool | None = None, **settings: Any) -> int:
        home = admission_kit(tmp_path, **settings)
        return (await home.admit(long_prompts=long_prompts)).recipe.reading.max_chunks

    assert await chunks() == 32
    assert await chunks(limits=Limits(max_prompt_chunks=5)) == 5
    assert await chunks(prompts=Prompts(long_prompts=False)) == 1
    assert await chunks(True, prompts=Prompts(long_prompts=False)) == 32
    assert await chunks(False) == 1


async def test_the_syntax_of_request_style_checkpoint_and_server(tmp_path: Path) -> None:
    home = admission_kit(
        tmp_path,
        checkpoints={"demo": DEMO, "pony": Checkpoint(path="demo", prompt_syntax="a1111")},
        models={"words": HouseStyle(checkpoint="pony", prompt_syntax="plain")},
    )

    async def of(home: AdmissionKit, **fields: Any) -> str:
        return (await home.admit(**fields)).recipe.reading.syntax

    assert [await of(home, model=name) for name in ("demo", "pony", "words")] == ["plain", "a1111", "plain"]
    assert await of(home, model="words", prompt_syntax="a1111") == "a1111"
    weighing = admission_kit(tmp_path, prompts=Prompts(prompt_syntax="a1111"))
    assert (await of(weighing), await of(weighing, prompt_syntax="plain")) == ("a1111", "plain")


@pytest.mark.parametrize("text", ["[red:blue:0.5]", "[red|blue]", "a cat AND a dog", "(red:11)"])
async def test_what_cannot_be_read_is_refused_under_its_field(tmp_path: Path, text: str) -> None:
    home = admission_kit(tmp_path, models={"odd": HouseStyle(negative_prompt=text)})
    for param, fields in {
        "prompt": {"prompt": text},
        "negative_prompt": {"negative_prompt": text},
        "model": {"model": "odd"},
    }.items():
        with pytest.raises(InvalidRequest, match="'plain' reads it as words") as refused:
            await home.admit(**fields, prompt_syntax="a1111")
        assert refused.value.param == param
    assert (await home.admit(text, negative_prompt=text)).recipe.prompt == text


async def test_marks_have_a_meaning_or_a_warning(tmp_path: Path) -> None:
    home = admission_kit(tmp_path)
    (warning,) = (await home.admit("a (red:1.3) cat")).warnings
    assert "have no effect" in warning
    assert (await home.admit("a (red:1.3) cat", prompt_syntax="a1111")).warnings == ()


async def test_lora_tags_and_trigger_words_go_with_weights(tmp_path: Path) -> None:
    told = 'trigger_words = ["ink (wash)", "sharp"]\nadd_trigger_words = true'
    home = admission_kit(tmp_path, {"ink": told})
    weighed = await home.admit("a (red <lora:ink:0.5> cat:1.3)", prompt_syntax="a1111")
    assert weighed.recipe.prompt == r"ink \(wash\), sharp, a (red cat:1.3)"
    assert [part.weight for part in weighed.recipe.blend.parts] == [0.5]
    said = await home.admit(r"(ink \(wash\):1.2) <lora:ink>", prompt_syntax="a1111")
    assert said.recipe.prompt == r"sharp, (ink \(wash\):1.2)"
    plain = await home.admit("ink (wash) cat <lora:ink>")
    assert plain.recipe.prompt == "sharp, ink (wash) cat"


async def test_words_that_files_teach_are_in_the_recipe(tmp_path: Path) -> None:
    write_embedding(tmp_path / "embeddings" / "Sks.safetensors")
    write_embedding(tmp_path / "embeddings" / "grim.safetensors", 2)
    save_file({"clip_l": torch.zeros(1, 768)}, tmp_path / "embeddings" / "wide.safetensors")
    of = admission_kit(tmp_path).admit
    found = await of("a sks cat", negative_prompt="grim, sksk")
    (grim, first), (sks, second) = found.recipe.reading.embeddings
    assert (grim, sks, found.warnings) == ("grim", "sks", ())
    assert first != second
    assert found.recipe.digests == {first, second}
    assert (await of("a cat")).recipe.reading.embeddings == ()
    assert len((await of("a (s\\ks:1.2) cat", prompt_syntax="a1111")).recipe.reading.embeddings) == 1

    wide = await of("a wide cat")
    assert wide.recipe.reading.embeddings == ()
    assert "'wide' is read as plain text" in wide.warnings[0]
    assert "64 wide" in wide.warnings[0]

    (tmp_path / "embeddings" / "grim.safetensors").unlink()
    assert (await of("a grim wonder")).recipe.reading.embeddings == (("grim", first),)
    store_path(tmp_path / "data", first).unlink()
    gone = await of("a grim wonder")
    assert gone.recipe.reading.embeddings == ()
    assert "'grim' is read as plain text" in gone.warnings[0]


STYLES = {"Noir": Style(prompt="film still of {prompt}, (noir)", negative_prompt="color"), "bare": Style()}


@pytest.mark.parametrize(
    ("style", "prompt", "negative"),
    [
        (None, "inky, a fox", "grey"),
        ("noir", "inky, film still of a fox, (noir)", "grey, color"),
        ("NOIR ", "inky, film still of a fox, (noir)", "grey, color"),
        ("bare", "inky, a fox", "grey"),
        ("vivid", "inky, a fox, vivid colors, dramatic light", "grey, dull, flat"),
    ],
)
async def test_a_style_is_written_around_the_prompt(
    tmp_path: Path, style: str | None, prompt: str, negative: str
) -> None:
    told = 'trigger_words = ["inky"]\nadd_trigger_words = true'
    home = admission_kit(tmp_path, {"ink": told}, styles=STYLES)
    found = (await home.admit("a fox <lora:ink>", style=style, negative_prompt="grey")).recipe
    assert (found.prompt, found.negative_prompt) == (prompt, negative)


async def test_a_style_alone_keeps_away_from_what_it_says(tmp_path: Path) -> None:
    home = admission_kit(tmp_path, styles=STYLES, models={"house": HouseStyle(negative_prompt="blurry")})
    assert (await home.admit(style="noir")).recipe.negative_prompt == "color"
    assert (await home.admit(style="noir", model="house")).recipe.negative_prompt == "blurry, color"
    assert (await home.admit(style="noir", negative_prompt="")).recipe.negative_prompt == "color"


async def test_an_unknown_style_names_those_there_are(tmp_path: Path) -> None:
    home = admission_kit(tmp_path, styles=STYLES)
    with pytest.raises(InvalidRequest, match="'vivid', 'natural', 'Noir', 'bare'") as refused:
        await home.admit(style="cubist")
    assert refused.value.param == "style"


async def test_a_style_that_cannot_be_read_in_the_syntax_in_force(tmp_path: Path) -> None:
    home = admission_kit(tmp_path, styles={"odd": Style(prompt="{prompt} AND a dog")})
    assert (await home.admit("a cat", style="odd")).recipe.prompt == "a cat AND a dog"
    with pytest.raises(InvalidRequest) as refused:
        await home.admit("a cat", style="odd", prompt_syntax="a1111")
    assert refused.value.param == "style"


@pytest.mark.parametrize("template", ["", "no place", "{prompt} {prompt}"])
def test_a_template_has_one_place_for_the_prompt(template: str) -> None:
    with pytest.raises(ValidationError, match="once, where the request's prompt goes"):
        Style(prompt=template)


async def test_a_prompt_that_looks_like_a_place_is_a_prompt(tmp_path: Path) -> None:
    found = await admission_kit(tmp_path, styles=STYLES).admit("a {prompt} {0}", style="noir")
    assert found.recipe.prompt == "film still of a {prompt} {0}, (noir)"
