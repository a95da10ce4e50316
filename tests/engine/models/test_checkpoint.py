"""Checkpoints by other tools, several at once, and folders that cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sdxl_gateway.config import DEMO_MODEL, Checkpoint, Memory
from sdxl_gateway.core.errors import CheckpointProblem, DoesNotFit, ModelNotFound
from sdxl_gateway.core.picture import Inputs
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.engine.load import open_engine
from tests.kit.engine import Studio, contrast, difference, mask, photo, process_settings, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import (
    UNET_FILE,
    VAE_FILE,
    change_json,
    change_weights,
    copy_of_demo,
    distilled_demo,
    inpainting_demo,
)
from tests.kit.reference import Reference

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PHOTO = Inputs({"image": photo()})
REPAINT = Inputs({"image": photo(), "mask": mask()})


@pytest.mark.parametrize(("sampler", "strength"), [("euler", 1.0), ("euler_a", 0.7), ("lcm", 0.9)])
def test_an_inpainting_unet(tmp_path: Path, sampler: str, strength: float) -> None:
    folder = inpainting_demo(tmp_path / "inpainting")
    wanted = recipe(task=Task.INPAINT, sampler=sampler, strength=strength, steps=4)
    ours = studio(tmp_path, folder).paint(wanted, REPAINT)
    assert contrast(ours) > 20
    assert difference(ours, Reference(folder).paint(wanted, REPAINT)) <= 1


def test_an_inpainting_unet_paints_whole_pictures_too(tmp_path: Path) -> None:
    made = studio(tmp_path, inpainting_demo(tmp_path / "inpainting"))
    assert contrast(made.paint(recipe())) > 20
    assert contrast(made.paint(recipe(task=Task.IMAGE_TO_IMAGE, strength=0.5), PHOTO)) > 20


@pytest.mark.parametrize("guidance_scale", [1.0, 7.0])
def test_a_unet_distilled_to_take_the_guidance_scale(tmp_path: Path, guidance_scale: float) -> None:
    folder = distilled_demo(tmp_path / "distilled")
    wanted = recipe(sampler="lcm", guidance_scale=guidance_scale, steps=4, embeds_guidance=True)
    assert difference(studio(tmp_path, folder).paint(wanted), Reference(folder).paint(wanted)) <= 1


@pytest.mark.parametrize("negative_prompt", ["", "green"])
def test_zeros_for_no_negative_prompt(tmp_path: Path, negative_prompt: str) -> None:
    folder = copy_of_demo(tmp_path / "zeros")
    change_json(folder / "model_index.json", force_zeros_for_empty_prompt=True)
    wanted = recipe(negative_prompt=negative_prompt)
    ours = studio(tmp_path, folder).paint(wanted)
    assert difference(ours, Reference(folder).paint(wanted)) <= 1


def test_a_vae_whose_latents_are_shifted(tmp_path: Path) -> None:
    folder = copy_of_demo(tmp_path / "shifted")
    change_json(folder / "vae" / "config.json", latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.1, 0.9, 1.3, 0.8])
    made, reference = studio(tmp_path, folder), Reference(folder)
    for wanted, inputs in ((recipe(), Inputs()), (recipe(task=Task.IMAGE_TO_IMAGE, strength=0.6, steps=4), PHOTO)):
        assert difference(made.paint(wanted, inputs), reference.paint(wanted, inputs)) <= 1


def test_a_folder_of_fp16_files_alone(tmp_path: Path) -> None:
    folder = copy_of_demo(tmp_path / "fp16")
    for path in list(folder.rglob("*.safetensors")):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    assert studio(tmp_path, folder).paint(recipe()) == studio(tmp_path).paint(recipe())


def test_another_vae_in_place_of_its_own(tmp_path: Path) -> None:
    other = copy_of_demo(tmp_path / "other")
    change_weights(other / VAE_FILE, _darken)
    plain, whole, alone = (
        open_engine(process_settings(tmp_path, {"demo": Checkpoint(path="demo", vae=vae)}), lambda _: None)
        for vae in (None, str(other), str(other / "vae"))
    )
    first, second, third = [Studio(engine, tmp_path, tmp_path).paint(recipe()) for engine in (plain, whole, alone)]
    assert second == third
    assert difference(first, second) > 5


def _darken(tensors: dict[str, Tensor]) -> None:
    tensors["decoder.conv_out.bias"] -= 0.5


def test_two_names_of_one_folder_share_steps_and_keep_their_vaes(tmp_path: Path) -> None:
    other = copy_of_demo(tmp_path / "other")
    change_weights(other / VAE_FILE, _darken)
    checkpoints = {"demo": Checkpoint(path="demo"), "dark": Checkpoint(path="demo", vae=str(other))}
    made = Studio(open_engine(process_settings(tmp_path, checkpoints), lambda _: None), other, tmp_path)
    wanted = [replace(recipe(checkpoint=name), checkpoint_digest="one") for name in checkpoints]
    alone = [made.paint(one) for one in wanted]
    assert difference(*alone) > 5
    canvases = [made.engine.begin(one, 0, Inputs()) for one in wanted]
    assert len({canvas.batch_key for canvas in canvases}) == 1
    while canvases[0].steps_done < canvases[0].steps_total:
        made.engine.step(canvases)
    for picture, again in zip(alone, made.finish(canvases), strict=True):
        assert difference(picture, again) <= 1
    made.engine.close()


def test_two_checkpoints_loaded_as_they_are_asked_for(tmp_path: Path) -> None:
    other = copy_of_demo(tmp_path / "other")
    change_weights(other / VAE_FILE, _darken)
    config = process_settings(tmp_path, {"demo": Checkpoint(path="demo"), "other": Checkpoint(path=str(other))})
    made = Studio(open_engine(config, lambda _: None), other, tmp_path)
    assert made.engine.checkpoints == ("demo", "other")
    digest = admitted(write_lora(tmp_path / "a.safetensors", other, 1), tmp_path)
    for wanted in (recipe(), recipe(blend=blend((digest, 0.8)))):
        first = made.paint(wanted)
        second = made.paint(recipe(checkpoint="other", blend=wanted.blend))
        assert difference(first, second) > 5
        assert made.paint(wanted) == first
    made.engine.close()


def test_a_checkpoint_leaves_for_another_unless_it_is_pinned(tmp_path: Path) -> None:
    config = process_settings(tmp_path, {"demo": Checkpoint(path="demo"), "other": Checkpoint(path="demo")})
    config = config.model_copy(update={"memory": Memory(vram_budget_bytes=2**20)})
    engine = open_engine(config, lambda _: None)
    made = Studio(engine, tmp_path, tmp_path)
    digest = admitted(write_lora(tmp_path / "a.safetensors", DEMO_MODEL, 1), tmp_path)
    wanted = recipe(blend=blend((digest, 0.8)))
    engine.prefetch(wanted).result(timeout=30)
    before = made.paint(wanted)
    with pytest.raises(DoesNotFit):
        made.paint(recipe(checkpoint="other"))
    engine.release(wanted)
    assert made.paint(recipe(checkpoint="other")) == made.paint(recipe())
    assert made.paint(wanted) == before
    engine.close()


def test_a_checkpoint_nobody_configured(fresh: Studio) -> None:
    wanted = recipe(checkpoint="elsewhere")
    with pytest.raises(ModelNotFound):
        fresh.engine.prefetch(wanted).result(timeout=30)
    fresh.engine.release(wanted)
    with pytest.raises(ModelNotFound):
        fresh.paint(wanted)


def test_the_files_of_a_checkpoint_are_never_written(tmp_path: Path) -> None:
    folder = copy_of_demo(tmp_path / "copy")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*.safetensors")}
    made = studio(tmp_path, folder, dtype="float16")
    digest = admitted(write_lora(tmp_path / "a.safetensors", folder, 1), tmp_path)
    made.paint(recipe(blend=blend((digest, 1.0)), steps=1))
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in before} == before


def _drop_a_weight(folder: Path) -> None:
    change_weights(folder / UNET_FILE, lambda tensors: tensors.__delitem__("conv_out.weight"))


def _drop_a_text_weight(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    change_weights(path, lambda tensors: tensors.__delitem__(min(tensors)))


def _widen_the_input(folder: Path) -> None:
    change_json(folder / "unet" / "config.json", in_channels=8)
    change_weights(folder / UNET_FILE, lambda tensors: tensors.update({"conv_in.weight": torch.zeros(32, 8, 3, 3)}))


def _drop_the_files(folder: Path) -> None:
    (folder / VAE_FILE).unlink()


def _drop_the_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("[")


@pytest.mark.parametrize(
    "spoil", [_drop_a_weight, _drop_a_text_weight, _widen_the_input, _drop_the_files, _drop_the_index]
)
def test_a_folder_that_cannot_be_painted_with(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder = copy_of_demo(tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(CheckpointProblem):
        studio(tmp_path, folder)


def test_an_engine_wants_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointProblem):
        open_engine(process_settings(tmp_path, {}), lambda _: None)
