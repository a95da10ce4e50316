"""Few-step models: they bring all their settings along, and a request that goes against them is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Checkpoint
from tests.kit.admission import DEMO, AdmissionKit, admission_kit

LIGHTNING = "sdxl_lightning_4step_lora"
LORAS = {LIGHTNING: "", "own": 'steps = 6\nguidance_scale = 1.5\nsampler = "lcm"', "ink": "steps = 28", "TCD-LoRA": ""}
SECTIONS = {
    "demo": DEMO,
    "plain": Checkpoint(path="demo"),
    "sd_xl_turbo": Checkpoint(path="demo"),
    "distilled": Checkpoint(path="demo", steps=8, guidance_scale=1.0, sampler="dpmpp_sde"),
}


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    return admission_kit(tmp_path, LORAS, checkpoints=SECTIONS)


@pytest.mark.parametrize(
    ("model", "meant"),
    [
        (LIGHTNING, (4, 1.0, "euler", "trailing", 0.0)),
        (f"plain+{LIGHTNING}:0.9", (4, 1.0, "euler", "trailing", 0.0)),
        ("TCD-LoRA", (4, 1.0, "tcd", "normal", 0.3)),
        ("own", (6, 1.5, "lcm", "normal", 0.0)),
        ("sd_xl_turbo", (4, 1.0, "euler_a", "trailing", 0.0)),
        ("distilled", (8, 1.0, "dpmpp_sde", "normal", 0.0)),
        (f"distilled+{LIGHTNING}", (4, 1.0, "euler", "trailing", 0.0)),
        ("ink", (28, 4.5, "euler", "normal", 0.0)),
    ],
)
async def test_they_are_painted_as_they_were_made_to_be(home: AdmissionKit, model: str, meant: object) -> None:
    found = await home.admit(model=model)
    recipe = found.recipe
    assert (recipe.steps, recipe.guidance_scale, recipe.sampler, recipe.schedule, recipe.eta) == meant
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 30}, "distilled for 4 steps; with 30"),
        ({"steps": 2}, "distilled for 4 steps; with 2"),
        ({"guidance_scale": 7.0}, "distilled for a guidance_scale of 1; with 7"),
        ({"sampler": "ddim"}, "distilled for the sampler euler; with ddim"),
        ({"schedule": "karras"}, "distilled for the schedule trailing; with karras"),
        ({"sampler": "euler_karras"}, "distilled for the schedule trailing; with karras"),
        ({"quality": "high"}, "distilled for 4 steps, whatever the quality"),
    ],
)
async def test_a_request_against_them_is_told(home: AdmissionKit, fields: dict[str, Any], words: str) -> None:
    (warning,) = (await home.admit(model=LIGHTNING, **fields)).warnings
    assert words in warning
    assert (await home.admit(model="ink", **fields)).warnings == ()


@pytest.mark.parametrize(
    "fields",
    [{"steps": 4}, {"steps": 8}, {"guidance_scale": 0.0}, {"guidance_scale": 2.0}, {"sampler": "Euler", "seed": 1}],
)
async def test_a_request_in_their_sense_is_not(home: AdmissionKit, fields: dict[str, Any]) -> None:
    assert (await home.admit(model=LIGHTNING, **fields)).warnings == ()


async def test_no_quality_changes_their_steps(home: AdmissionKit) -> None:
    found = [(await home.admit(model="own", quality=quality)).recipe.steps for quality in ("low", "medium", "max")]
    assert found == [6, 6, 6]
