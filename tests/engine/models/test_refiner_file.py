"""A refiner as one file: the weights and pictures are those of diffusers' own `from_single_file`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModelWithProjection

from sdxl_gateway.catalog.single_file.families import PREFIXES, Family
from sdxl_gateway.catalog.single_file.layout import sdxl_tensors
from sdxl_gateway.config import DEMO_MODEL, REFINER_CONFIGS, Checkpoint
from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.recipe import NO_BLEND, Phase, Recipe, Task
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.engine.models.pretrained import check_tensors, empty_model
from sdxl_gateway.engine.models.single_file import to_diffusers
from tests.kit.engine import Studio, contrast, difference, photo, process_settings, recipe
from tests.kit.reference import Reference
from tests.kit.sdxl_shapes import REFINER_UNET
from tests.kit.single_files import refiner_reference, section, write_single_file
from tools.demo_refiner import write_demo_refiner

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

FORMATS = [torch.float32, torch.bfloat16, torch.float8_e4m3fn]
PHOTO = Inputs({"image": photo()})


@dataclass(frozen=True)
class House:
    """An engine with the demo and a refiner's file, and diffusers with both."""

    studio: Studio
    base: Reference
    refiner: Reference


def house_of(folder: Path, dtype: torch.dtype = torch.float16) -> House:
    configs = write_demo_refiner(folder / "refiner")
    path = write_single_file(folder / "fine.safetensors", configs, dtype=dtype)
    sections = {"demo": Checkpoint(path="demo"), "fine": section(path, config=str(configs))}
    engine = open_engine(process_settings(folder, sections), lambda _: None)
    return House(Studio(engine, DEMO_MODEL, folder), Reference(DEMO_MODEL), refiner_reference(path, configs))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house_of(tmp_path_factory.mktemp("models"))
    yield made
    made.studio.engine.close()


def same_weights(ours: nn.Module, theirs: nn.Module) -> bool:
    mine, other = ours.state_dict(), theirs.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_weight_is_the_one_diffusers_reads(tmp_path: Path, dtype: torch.dtype) -> None:
    house = house_of(tmp_path, dtype)
    checkpoint = house.studio.engine._pool.get("checkpoint", "fine").checkpoint
    assert list(checkpoint.blendable()) == ["unet", "text_encoder_2"]
    for name, module in {**checkpoint.blendable(), "vae": checkpoint.vae}.items():
        assert same_weights(module, getattr(house.refiner.base, name)), name
    house.studio.engine.close()


@pytest.mark.parametrize("options", [{"strength": 0.3}, {"strength": 0.8, "negative_prompt": "green"}])
def test_a_whole_picture(house: House, options: dict[str, Any]) -> None:
    wanted = recipe(task=Task.IMAGE_TO_IMAGE, steps=5, checkpoint="fine", **options)
    ours = house.studio.paint(wanted, PHOTO)
    assert contrast(ours) > 20
    assert difference(ours, house.refiner.paint(wanted, PHOTO)) <= 1


def refined(**changes: Any) -> Recipe:
    phase = Phase("fine", "fine", NO_BLEND, from_step=3, from_share=0.6)
    return replace(recipe(steps=5, negative_prompt="green"), later_phases=(phase,), **changes)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_the_last_steps(house: House, sampler: str) -> None:
    wanted = refined(sampler=sampler)
    theirs = house.base.refined(wanted, house.refiner, NO_INPUTS, 0.6)
    assert difference(house.studio.paint(wanted), theirs) <= 1


KINDS = {"unet": UNet2DConditionModel, "text_encoder_2": CLIPTextModelWithProjection, "vae": AutoencoderKL}


@pytest.mark.parametrize("name", KINDS)
def test_every_tensor_of_the_full_size_has_its_place(name: str) -> None:
    prefix = PREFIXES[Family.REFINER][name]
    shapes = {key: shape for key, shape in sdxl_tensors(Family.REFINER).items() if key.startswith(prefix)}
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    config = json.loads((REFINER_CONFIGS / name / "config.json").read_text("utf-8"))
    model = empty_model(KINDS[name], config)
    check_tensors(model, to_diffusers(name, tensors, config), "it")
    assert sum(t.numel() for t in model.parameters()) == sum(map(math.prod, shapes.values()))


def test_the_shipped_config_is_the_published_refiners() -> None:
    config = json.loads((REFINER_CONFIGS / "unet" / "config.json").read_text("utf-8"))
    assert {name: config[name] for name in REFINER_UNET} == json.loads(json.dumps(REFINER_UNET))
