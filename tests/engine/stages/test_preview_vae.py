"""Previews by a tiny VAE, which decodes the predicted latents; nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from sdxl_gateway.catalog.preview_vae import preview_vae_folder
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.picture import NO_INPUTS
from tests.kit.engine import Studio, pixels, recipe, studio
from tests.kit.model_folders import change_json

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE that halves sides as often as the demo's."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    ).save_pretrained(folder)
    return folder


def test_a_look_is_what_it_decodes(tiny: Path, tmp_path: Path, demo: Studio) -> None:
    room = studio(tmp_path, preview_vae=str(tiny))
    wanted = recipe(steps=3)
    canvas = room.engine.begin(wanted, 0, NO_INPUTS)
    room.engine.step([canvas])
    model = AutoencoderTiny.from_pretrained(tiny)
    with torch.inference_mode():
        decoded = model.decode(canvas.pred_original).sample[0].permute(1, 2, 0)
    expected = (decoded * 0.5 + 0.5).clamp(0, 1).mul(255).round().numpy()
    look = room.engine.preview(canvas).result()
    assert (look.width, look.height) == (64, 64)
    assert np.ptp(expected) > 20
    assert np.abs(pixels(look).astype(int) - expected.astype(int)).max() <= 1
    assert ("preview_vae", "preview_vae") in room.engine._pool.ledger.keys("vram")
    assert room.paint(wanted) == demo.paint(wanted)


def test_what_is_none_is_told(tiny: Path, tmp_path: Path) -> None:
    assert preview_vae_folder(None) is None
    assert preview_vae_folder(str(tiny)) == tiny
    with pytest.raises(CheckpointProblem, match="AutoencoderKL, and not an AutoencoderTiny"):
        preview_vae_folder(str(DEMO_MODEL / "vae"))
    with pytest.raises(CheckpointProblem, match=r"'config\.json' is missing"):
        preview_vae_folder(str(tmp_path))
    with pytest.raises(CheckpointProblem):
        preview_vae_folder("no/where")


def test_one_without_weights(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny / "config.json").read_bytes())
    change_json(tmp_path / "config.json", more=1)
    with pytest.raises(CheckpointProblem, match=r"safetensors weights"):
        preview_vae_folder(str(tmp_path))
