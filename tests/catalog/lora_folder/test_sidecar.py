"""Side-cars and a file's own metadata become defaults; what is wrong is listed, never raised."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_gateway.catalog.lora_folder.sidecar import NOTHING_KNOWN, Defaults, sidecar_path, told_defaults, with_sidecar
from sdxl_gateway.core.text import cleaned
from tests.kit.lora_files import write

WHOLE = """
weight = 0.8
text_encoder_weight = 0
trigger_words = ["wtrclr style", "soft"]
add_trigger_words = true
steps = 8
guidance_scale = 1.5
sampler = "lcm"
description = "Loose washes."
"""
SAID = (
    *("weight", "text_encoder_weight", "trigger_words", "add_trigger_words"),
    *("steps", "guidance_scale", "sampler", "description"),
)


def test_a_whole_sidecar(tmp_path: Path) -> None:
    path = write(tmp_path / "ink.toml", WHOLE.encode())
    assert with_sidecar(NOTHING_KNOWN, path) == (
        Defaults(0.8, 0.0, ("wtrclr style", "soft"), True, 8, 1.5, "lcm", "Loose washes.", said=SAID),
        (),
    )


def test_what_the_sidecar_does_not_say_is_kept(tmp_path: Path) -> None:
    told = Defaults(trigger_words=("told",), title="Title")
    path = write(tmp_path / "ink.toml", b'trigger_words = "one phrase, with a comma"')
    assert with_sidecar(told, path)[0] == Defaults(
        trigger_words=("one phrase, with a comma",), title="Title", said=("trigger_words",)
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wieght = 1", "unknown key 'wieght'"),
        ("weight = 5", "'weight' is not a number between -4 and 4"),
        ("weight = nan", "'weight' is not a number"),
        ("weight = inf", "'weight' is not a number"),
        ("weight = true", "'weight' is not a number"),
        ('weight = "1"', "'weight' is not a number"),
        ("steps = 4.5", "'steps' is not a whole number"),
        ("steps = 0", "'steps' is not a whole number"),
        ("clip_skip = 13", "'clip_skip' is not a whole number between 1 and 12"),
        ("guidance_scale = 51", "'guidance_scale' is not a number between 0 and 50"),
        ("add_trigger_words = 1", "'add_trigger_words' is neither true nor false"),
        ("trigger_words = 3", "'trigger_words' is neither a text nor a list"),
        ("trigger_words = [1]", "'trigger_words' is neither a text nor a list"),
        ("sampler = 1", "'sampler' is not a text"),
        ('schedule = "zigzag"', "'schedule' is none of normal, karras"),
        ("eta = 2", "'eta' is not a number between 0 and 1"),
        ("schedule = [1]", "'schedule' is none of"),
        ('description = " "', "'description' is not a text"),
    ],
)
def test_a_wrong_key_is_listed_with_file_and_key_and_the_rest_is_used(tmp_path: Path, line: str, words: str) -> None:
    path = write(tmp_path / "ink.toml", f"{line}\n{'steps = 7' if 'steps' not in line else 'weight = 1'}".encode())
    defaults, problems = with_sidecar(NOTHING_KNOWN, path)
    assert len(problems) == 1
    assert problems[0].startswith("ink.toml: ")
    assert words in problems[0]
    assert defaults in (Defaults(steps=7, said=("steps",)), Defaults(weight=1.0, said=("weight",)))


@pytest.mark.parametrize(
    "data", [b"= 3", b"\xff", b"weight = 1\nweight = 2", b"a = " + b"[" * 5000, b"#" + b" " * 2**17]
)
def test_a_sidecar_that_cannot_be_read_is_one_problem(tmp_path: Path, data: bytes) -> None:
    defaults, problems = with_sidecar(NOTHING_KNOWN, write(tmp_path / "ink.toml", data))
    assert defaults == NOTHING_KNOWN
    assert len(problems) == 1
    assert problems[0].startswith("ink.toml: ")


def test_a_sidecar_that_is_gone_is_one_problem(tmp_path: Path) -> None:
    assert with_sidecar(NOTHING_KNOWN, tmp_path / "ink.toml") == (NOTHING_KNOWN, ("ink.toml: cannot be read.",))


def test_where_sidecars_lie() -> None:
    assert sidecar_path(Path("a/ink.v2.safetensors")) == Path("a/ink.v2.toml")
    assert sidecar_path(Path("a/folder")) == Path("a/folder.toml")


def test_the_trigger_phrase_comes_first() -> None:
    told = told_defaults(
        {
            "modelspec.trigger_phrase": "wtrclr",
            "modelspec.title": "Watercolor\nXL",
            "modelspec.description": "Wet.",
            "ss_tag_frequency": '{"a": {"ignored": 9}}',
        }
    )
    assert told == Defaults(trigger_words=("wtrclr",), description="Wet.", title="Watercolor XL")


def test_tags_nearly_always_there_are_taken_for_trigger_words() -> None:
    tags = {"10_ink": {"ink style": 30, "tree": 12, "line art": 28}, "2_more": {"ink style": 10, "line art": 9}}
    told = told_defaults({"ss_tag_frequency": json.dumps(tags), "ss_output_name": "ink"})
    assert told.trigger_words == ("ink style", "line art")
    assert told.title == "ink"


def test_tags_without_number_are_counted() -> None:
    tags = {"ink": {"ink style": 10**400, "line art": 10**400 // 2}}
    assert told_defaults({"ss_tag_frequency": json.dumps(tags)}).trigger_words == ("ink style",)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"b": "c"}}', "[" * 10_000, '{"a": {"b": 1e999}}'])
def test_tag_tables_of_any_form_do_no_harm(text: str) -> None:
    assert told_defaults({"ss_tag_frequency": text}).trigger_words == ()


def test_told_texts_are_short_single_printable_lines() -> None:
    told = told_defaults({"modelspec.title": "a\x00b\u202ec\r\nd" + "x" * 9000, "modelspec.trigger_phrase": "y" * 9000})
    assert told.title is not None
    assert told.title.startswith("abc d")
    assert len(told.title) == 500
    assert [len(word) for word in told.trigger_words] == [200]
    assert cleaned(" \n\t ", 10) == ""


def test_a_known_few_step_lora_asks_for_its_settings_and_the_sidecar_goes_before(tmp_path: Path) -> None:
    told = told_defaults({}, "fast/sdxl_lightning_4step_lora")
    assert told == Defaults(steps=4, guidance_scale=1.0, sampler="euler", schedule="trailing")
    path = write(tmp_path / "ink.toml", b'schedule = "SGM Uniform"\nsteps = 6\neta = 0.5')
    assert with_sidecar(told, path) == (replace(told, steps=6, eta=0.5, said=("schedule", "steps", "eta")), ())
