"""Every field of a generation is a flag of `generate`, made of the table that the API reads by."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.api.asks.field import Kind
from sdxl_gateway.api.asks.fields import fields_of, wire_fields
from sdxl_gateway.cli import app
from sdxl_gateway.cli.field_flags import NOT_FLAGS, BadFlag, field_lines, read_words
from sdxl_gateway.cli.generating import ask_for
from sdxl_gateway.config import Limits, Settings
from sdxl_gateway.core.ask import Ask, LoraRef, Operation, Upload
from sdxl_gateway.core.errors import InvalidRequest
from tests.kit.pictures import PNG

runner = CliRunner()
SAMPLING = ["--sampler=UniPC", "--schedule", "karras", "--cfg", "4", "--refiner", "true", "--refiner_at", "0.7"]
TEXTS = ["--negative-prompt", "green", "--clip-skip", "3", "--prompt-syntax", "a1111", "--style", "vivid"]
SIZES = ["--size", "256x128", "--upscale", "2", "--upscaler", "lanczos", "--detail", "0.3", "--seed", "7"]


def asked(*words: str) -> Ask:
    return ask_for(read_words(words, Limits()), Path("a.png"), Settings()).ask


def test_they_say_what_a_request_says() -> None:
    found = asked(*SAMPLING, *TEXTS, *SIZES, "a cat", "--embed-recipe", "--lora", "ink:0.5", "--lora", "wash")
    said = (found.prompt, found.negative_prompt, found.sampler, found.schedule, found.clip_skip, found.prompt_syntax)
    assert said == ("a cat", "green", "UniPC", "karras", 3, "a1111")
    assert (found.style, found.upscale, found.upscaler, found.detail) == ("vivid", 2, "lanczos", 0.3)
    assert (found.refiner, found.refiner_at, found.guidance_scale, found.seed) == (True, 0.7, 4.0, 7)
    assert (str(found.size), found.embed_recipe, found.enhance) == ("256x128", True, False)
    assert found.loras == (LoraRef("ink", 0.5), LoraRef("wash"))


def test_pictures_are_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    file = str(tmp_path / "a.png")
    controls = '[{"type": "canny"}, {"type": "depth"}]'
    found = asked(
        "a cat", "--reference-image", file, "--control-image", file, "--controls", controls, "--control-image", file
    )
    assert [one.upload.data for one in found.references] == [PNG]
    assert [(one.type, one.image.data) for one in found.controls] == [("canny", PNG), ("depth", PNG)]
    assert read_words(["a", "--reference-image", file], Limits()).pictures["reference_image"] == (
        Upload("reference_image", PNG),
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a", "--upscal", "2"], "There is no flag '--upscal'. Is '--upscale' meant?"),
        (["a", "--stream"], "There is no flag '--stream'."),
        (["a", "--upscale"], "A value has to follow '--upscale'."),
        (["a", "--control-image", "absent.png"], "'absent.png' cannot be read: No such file or directory."),
        ([], "One prompt is painted, and 0 were given"),
        (["a", "cat"], "One prompt is painted, and 2 were given"),
    ],
)
def test_words_that_cannot_be_read(words: list[str], told: str) -> None:
    with pytest.raises(BadFlag) as found:
        read_words(words, Limits())
    assert str(found.value).startswith(told)
    result = runner.invoke(app, ["generate", *words])
    assert (result.exit_code, result.output.startswith(told)) == (2, True)


def test_ranges_are_the_servers() -> None:
    with pytest.raises(InvalidRequest, match="Invalid 'detail'"):
        asked("a cat", "--detail", "2")


def test_all_are_listed() -> None:
    lines = runner.invoke(app, ["generate", "--fields"]).stdout
    assert lines.splitlines() == [line for entry in field_lines(Limits()) for line in entry.splitlines()]
    for row in fields_of(wire_fields(Limits()), Operation.GENERATE):
        if row.name not in (*NOT_FLAGS, "loras") and row.kind is not Kind.IGNORED:
            assert f"--{row.name.replace('_', '-')}" in lines
    assert "--lora LORAS" in lines
