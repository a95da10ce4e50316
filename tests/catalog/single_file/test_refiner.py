"""The refiner as a single file: of its full size, made of holes, in the settings and in the folder; what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoint_folder.scan import open_named
from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint, open_checkpoints
from sdxl_gateway.catalog.single_file.families import REFINER_CLIP_G_PREFIX, Family
from sdxl_gateway.catalog.single_file.layout import sdxl_tensors
from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from sdxl_gateway.core.errors import CheckpointProblem
from tests.kit.single_file_headers import write_holes
from tests.kit.single_files import write_single_file
from tools.demo_refiner import write_demo_refiner

SHAPES = sdxl_tensors(Family.REFINER)


def opened(path: Path, config: str | None = None) -> CheckpointEntry:
    return open_checkpoint("fine", Checkpoint(path=str(path), config=config), DEMO_MODEL)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    beside = {f"{REFINER_CLIP_G_PREFIX}logit_scale": (), "denoiser.sigmas": (1000,)}
    return write_holes(tmp_path / "sd_xl_refiner_1.0.safetensors", {**SHAPES, **beside})


def test_the_published_layout_with_nothing_configured(published: Path) -> None:
    entry = opened(published)
    assert entry.refines
    assert entry.native_area == 1024 * 1024
    assert entry.shapes["unet.conv_in"] == (384, 4, 3, 3)
    assert entry.shapes["unet.mid_block.attentions.0.transformer_blocks.3.attn2.to_k"] == (1536, 1280)
    assert entry.shapes["text_encoder_2.text_projection"] == (1280, 1280)
    assert not any(name.startswith("text_encoder.") for name in entry.shapes)


def test_in_the_folder_and_as_a_sections_own(published: Path) -> None:
    assert open_named(published.parent, "sd_xl_refiner_1.0").refines
    sections = {"fine": Checkpoint(path=str(published)), "demo": Checkpoint(path="demo", refiner="fine")}
    assert open_checkpoints(sections, DEMO_MODEL)["fine"].refines


def test_one_that_is_not_quite_the_refiner(tmp_path: Path) -> None:
    shapes = dict(SHAPES)
    del shapes[f"{REFINER_CLIP_G_PREFIX}text_projection"]
    with pytest.raises(CheckpointProblem, match="which the SDXL refiner has"):
        opened(write_holes(tmp_path / "cut.safetensors", shapes))
    wide = {**SHAPES, "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}
    with pytest.raises(CheckpointProblem, match="in the SDXL refiner it is"):
        opened(write_holes(tmp_path / "narrow.safetensors", wide))


def test_its_modules_are_those_of_the_folder(tmp_path: Path) -> None:
    configs = write_demo_refiner(tmp_path / "refiner")
    path = write_single_file(tmp_path / "fine.safetensors", configs)
    folder = opened(configs)
    assert opened(path, config=str(configs)).shapes == folder.shapes


def test_configs_of_another_family(tmp_path: Path) -> None:
    configs = write_demo_refiner(tmp_path / "refiner")
    base, fine = write_single_file(tmp_path / "a.safetensors"), write_single_file(tmp_path / "b.safetensors", configs)
    with pytest.raises(CheckpointProblem, match="is an SDXL checkpoint, its `config` is of another"):
        opened(base, config=str(configs))
    with pytest.raises(CheckpointProblem, match="is the SDXL refiner, its `config` is of another"):
        opened(fine, config="demo")
