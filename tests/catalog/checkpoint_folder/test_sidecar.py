"""A side-car says for a checkpoint of the folder what a section says for a configured one; what is wrong is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoint_folder.sidecar import read_section
from sdxl_gateway.config import Checkpoint, CheckpointFolder
from tests.kit.model_folders import copy_of_demo


def said(folder: Path, text: str | bytes) -> tuple[dict[str, Any], list[str]]:
    """What the side-car sets, and what is wrong with it."""
    checkpoint = folder / "one.safetensors"
    (folder / "one.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    section, told = read_section(checkpoint)
    assert section.path == str(checkpoint)
    return section.model_dump(exclude={"path"}, exclude_defaults=True), list(told)


def test_without_one_nothing_is_said(tmp_path: Path) -> None:
    assert read_section(tmp_path / "one") == (Checkpoint(path=str(tmp_path / "one")), ())


def test_all_keys_of_a_section(tmp_path: Path) -> None:
    text = """
        native_pixels = 8192
        steps = 8
        guidance_scale = 1.5
        sampler = "euler_a"
        schedule = "trailing"
        vae = "demo"
        description = "Few steps."
    """
    assert said(tmp_path, text) == (
        {
            "native_pixels": 8192,
            "steps": 8,
            "guidance_scale": 1.5,
            "sampler": "euler_a",
            "schedule": "trailing",
            "vae": "demo",
            "description": "Few steps.",
        },
        [],
    )


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('steps = "many"', "steps"),
        ("steps = 0", "steps"),
        ("guidance_scale = -1", "guidance_scale"),
        ('sampler = "no such"', "sampler"),
        ('schedule = "no such"', "schedule"),
        ("native_pixels = 3", "native_pixels"),
        ('vae = "not/there"', "vae"),
        ('path = "elsewhere"', "path"),
        ("stepps = 3", "stepps"),
        ("description = 3", "description"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_and_the_others_count(tmp_path: Path, line: str, key: str) -> None:
    values, told = said(tmp_path, line)
    assert values == {}
    (message,) = told
    assert message.startswith(f"one.toml: '{key}' ")
    values, told = said(tmp_path, f"{line}\ndescription = 'kept'\n" if key != "description" else f"{line}\nsteps = 3")
    assert len(values) == len(told) == 1


@pytest.mark.parametrize(
    ("text", "told"), [("steps = ", "not valid TOML"), (b"\xff\xfe", "not valid TOML"), ("#" * 70_000, "longer than")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str | bytes, told: str) -> None:
    values, messages = said(tmp_path, text)
    assert values == {}
    assert told in messages[0]


def test_a_broken_side_car_is_a_problem_and_the_checkpoint_is_served(tmp_path: Path) -> None:
    copy_of_demo(tmp_path / "one")
    (tmp_path / "one.toml").write_text("steps = 8\nsampler = 3")
    catalog = CheckpointCatalog({}, CheckpointFolder(directory=tmp_path))
    catalog.scan()
    assert catalog["one"].section.steps == 8
    (problem,) = catalog.problems
    assert (problem.code, problem.file) == ("invalid_sidecar", "one.toml")


def test_what_decides_the_models_is_in_the_digest_and_nothing_else(tmp_path: Path) -> None:
    copy_of_demo(tmp_path / "one")
    catalog = CheckpointCatalog({}, CheckpointFolder(directory=tmp_path))

    def digest(sidecar: str) -> str:
        (tmp_path / "one.toml").write_text(sidecar)
        catalog.scan()
        return catalog["one"].digest

    plain = digest("")
    assert digest('steps = 3\nguidance_scale = 2.0\ndescription = "x"\nnative_pixels = 8192') == plain
    assert digest('vae = "demo"') != plain
