"""Refiners in a request: which one is meant, when it takes over, and what is refused under which field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.admission.resolve import Admission
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.config import Checkpoint, CheckpointFolder, HouseStyle
from sdxl_gateway.core.ask import Operation, Upload
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.recipe import Phase, Task
from sdxl_gateway.delivery.receipt import receipt
from sdxl_gateway.gateway.capabilities import capabilities
from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.pixels import to_image
from tests.kit.admission import DEMO, AdmissionKit, admission_kit
from tests.kit.decoders import decoders
from tests.kit.embedding_files import write_embedding
from tests.kit.engine import photo
from tests.kit.model_folders import copy_of_demo
from tools.demo_refiner import write_demo_refiner

SECTIONS = {
    "demo": DEMO,
    "polished": Checkpoint(path="demo", refiner="Fine"),
    "Fine": Checkpoint(path="demo"),
}


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    kit = admission_kit(
        tmp_path, {"ink": ""}, checkpoints=SECTIONS, models={"style": HouseStyle(checkpoint="polished")}
    )
    fine = replace(kit.checkpoints["Fine"], refines=True, digest="f1" * 32)
    checkpoints = CheckpointCatalog({**kit.checkpoints, "Fine": fine}, kit.settings.checkpoint_folder)
    return replace(
        kit, checkpoints=checkpoints, admission=Admission(kit.settings, checkpoints, kit.adapters, decoders())
    )


async def phases(home: AdmissionKit, **fields: Any) -> tuple[Phase, ...]:
    return (await home.admit(**fields)).recipe.later_phases


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "polished", "refiner": True},
        {"model": "style", "refiner": True},
        {"model": "polished+ink", "refiner": "fine"},
        {"refiner": "Fine"},
    ],
)
async def test_which_one_is_meant(home: AdmissionKit, fields: dict[str, Any]) -> None:
    (phase,) = await phases(home, steps=20, **fields)
    assert (phase.checkpoint, phase.checkpoint_digest, phase.blend.parts) == ("Fine", "f1" * 32, ())
    assert (phase.from_share, phase.from_step) == (0.8, 16)
    (early,) = await phases(home, steps=20, refiner_at=0.0, **fields)
    assert (early.from_share, early.from_step) == (0.0, 1)


async def test_both_may_lie_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    write_demo_refiner(folder / "fine")
    copy_of_demo(folder / "base")
    (folder / "base.toml").write_text('refiner = "fine"')
    home = admission_kit(tmp_path, checkpoint_folder=CheckpointFolder(directory=folder))
    (phase,) = await phases(home, model="base", refiner=True)
    assert (phase.checkpoint, phase.checkpoint_digest) == ("fine", home.checkpoints["fine"].digest)


@pytest.mark.parametrize(
    "fields", [{}, {"refiner": False}, {"model": "polished"}, {"model": "polished", "refiner": False}]
)
async def test_none_unasked(home: AdmissionKit, fields: dict[str, Any]) -> None:
    assert await phases(home, **fields) == ()


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"refiner": True}, "refiner", "The model 'demo' has no refiner of its own. There are: 'Fine'."),
        ({"refiner": "finest"}, "refiner", "There is no refiner 'finest'. There are: 'Fine'."),
        ({"refiner": "demo"}, "refiner", "There is no refiner 'demo'."),
        ({"model": "Fine"}, "model", "send one to /v1/images/edits"),
        ({"model": "Fine", "refiner": "Fine"}, "model", "paints from pictures alone"),
    ],
)
async def test_refusals(home: AdmissionKit, fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await home.admit(**fields)
    assert (caught.value.param, words in caught.value.message) == (param, True), caught.value.message


async def test_a_server_without_refiners_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="None is configured") as caught:
        await admission_kit(tmp_path).admit(refiner="fine")
    assert caught.value.param == "refiner"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"refiner_at": 0.5}, "refiner_at changes nothing"),
        ({"refiner": "fine", "refiner_at": 1.0}, "takes no step where refiner_at is 1"),
        ({"refiner": "fine", "steps": 1}, "no step of a picture painted in one"),
    ],
)
async def test_what_changes_nothing_is_told(home: AdmissionKit, fields: dict[str, Any], words: str) -> None:
    (warning,) = (await home.admit(**fields)).warnings
    assert words in warning


async def test_a_whole_picture_is_refined_by_an_edit(home: AdmissionKit) -> None:
    image = Upload("image", encode(to_image(photo()), "png"))
    found = await home.admit(operation=Operation.EDIT, model="Fine", images=(image,), strength=0.3)
    assert (found.recipe.checkpoint, found.recipe.task) == ("Fine", Task.IMAGE_TO_IMAGE)
    with pytest.raises(InvalidRequest) as caught:
        await home.admit(operation=Operation.EDIT, model="Fine", refiner="Fine", images=(image,))
    assert caught.value.param == "refiner"


async def test_its_one_text_encoder_is_all_that_counts(home: AdmissionKit, tmp_path: Path) -> None:
    """Words taught for the second encoder are read, and the layers are those of that one."""
    both, first_alone = ("sks", {"clip_l": 2, "clip_g": 2}), ("grim", {"clip_l": 1})
    for word, counts in (both, first_alone):
        write_embedding(tmp_path / "embeddings" / f"{word}.safetensors", **counts)
    fine = home.checkpoints["Fine"]
    shapes = {name: shape for name, shape in fine.shapes.items() if not name.startswith("text_encoder.")}
    refiner = replace(fine, shapes=shapes)
    catalog = EmbeddingCatalog(home.settings.embeddings, tmp_path, [home.checkpoints["demo"], refiner])
    catalog.scan()
    assert catalog.words(home.checkpoints["demo"]) == ["grim", "sks"]
    assert catalog.words(refiner) == ["sks"]
    assert capabilities(refiner, home.settings)["clip_skip"] == 3


async def test_the_receipt_and_the_capabilities_tell(home: AdmissionKit) -> None:
    told = receipt((await home.admit(refiner="fine", refiner_at=0.7)).recipe, seed=1, version="1")
    assert (told["refiner"], told["refiner_digest"], told["refiner_at"]) == ("Fine", "f1" * 32, 0.7)
    demo, fine = (
        capabilities(home.checkpoints[name], home.settings, refiners=home.admission.refiners.names)
        for name in ("demo", "Fine")
    )
    assert (demo["refiners"], fine["refiners"]) == (["Fine"], [])
    assert fine["operations"] == ["edit", "vary"]
