"""A few-step LoRA, from its file's name to the UNet's timesteps, on a checkpoint with another schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.kit.admission import admission_kit
from tests.kit.engine import studio
from tests.kit.model_folders import change_json, copy_of_demo

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.mark.parametrize(
    "name",
    [
        "sdxl_lightning_4step_lora",
        "Hyper-SDXL-4steps-lora",
        "dmd2_sdxl_4step_lora",
        "pcm_sdxl_smallcfg_4step",
        "sd_xl_turbo_lora",
    ],
)
async def test_it_paints_at_the_steps_it_was_taught(tmp_path: Path, name: str) -> None:
    folder = copy_of_demo(tmp_path / "model")
    config = folder / "scheduler" / "scheduler_config.json"
    change_json(config, timestep_spacing="leading", steps_offset=1)
    recipe = (await admission_kit(tmp_path, {name: ""}).admit(model=name, size="64x64")).recipe
    made = studio(tmp_path / "data", folder)
    seen: list[float] = []

    def note(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen.extend(given[1].tolist())

    made.engine._pool.checkpoint("demo").checkpoint.unet.register_forward_pre_hook(note)
    made.paint(recipe)
    made.engine.close()
    assert seen == [999, 749, 499, 249]
