"""Which pictures of a request guide its painting, how strongly, and what is told of those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Edits, IpAdapter
from sdxl_gateway.core.ask import Operation, Reference, Replay, Upload
from sdxl_gateway.core.errors import InvalidImage, InvalidRequest, RecipeChanged, Refusal
from sdxl_gateway.core.picture import reference_role
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.pictures.clip_view import clip_view
from sdxl_gateway.pictures.pixels import from_image
from tests.kit.admission import AdmissionKit, admission_kit
from tests.kit.gateway import noise, upload
from tests.kit.ip_adapters import SIDE, section

FIRST, SECOND, THIRD = (noise(size) for size in ((128, 128), (192, 128), (96, 160)))
CANVAS, FURTHER, MARKUP = upload(FIRST), upload(SECOND, "image[1]"), upload(THIRD, "markup")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> IpAdapter:
    return section(tmp_path_factory.mktemp("adapter"), weight=0.5)


@pytest.fixture
def home(tmp_path: Path, files: IpAdapter) -> AdmissionKit:
    return admission_kit(tmp_path, ip_adapter=files)


@pytest.fixture
def bare(tmp_path: Path) -> AdmissionKit:
    return admission_kit(tmp_path)


def weights(recipe: Recipe) -> tuple[float, ...]:
    return () if recipe.image_prompt is None else recipe.image_prompt.weights


async def refusal(home: AdmissionKit, **fields: Any) -> Refusal:
    with pytest.raises(Refusal) as raised:
        await home.admit(**fields)
    return raised.value


async def test_references_of_a_generation(home: AdmissionKit) -> None:
    given = (Reference(upload(SECOND, "references[0]"), 0.8), Reference(upload(THIRD, "references[1]")))
    found = await home.admit(references=given, seed=1)
    prompt = found.recipe.image_prompt
    assert prompt is not None
    assert (prompt.adapter, prompt.weights) == ("adapter", (0.8, 0.5))
    assert (found.recipe.task, found.warnings) == (Task.TEXT_TO_IMAGE, ())
    expected = [from_image(clip_view(image.convert("RGB"), SIDE)) for image in (SECOND, THIRD)]
    assert [found.inputs.reference(index) for index in (0, 1)] == expected
    assert dict(found.recipe.inputs) == {reference_role(at): one.digest for at, one in enumerate(expected)}
    plain = await home.admit(seed=1)
    assert (plain.recipe.image_prompt, plain.inputs.pictures) == (None, {})


async def test_further_images_and_the_markup_of_an_edit(home: AdmissionKit) -> None:
    edit: dict[str, Any] = {"operation": Operation.EDIT, "images": (CANVAS, FURTHER), "markup": MARKUP, "seed": 1}
    found = await home.admit(**edit)
    alone = await home.admit(**edit | {"images": (CANVAS,), "markup": None})
    assert (weights(found.recipe), found.warnings) == ((0.5, 0.5), ())
    assert (found.recipe.strength, found.inputs.image) == (alone.recipe.strength, alone.inputs.image)
    assert weights(alone.recipe) == ()


@pytest.mark.parametrize(("said", "weight"), [(None, 0.5), ("low", 0.5), ("high", 1.0), (0.3, 0.3), (2.0, 2.0)])
async def test_input_fidelity_is_the_weight_of_those_without_one(
    home: AdmissionKit, said: str | float | None, weight: float
) -> None:
    own = (Reference(upload(THIRD, "references[0]"), 0.7),)
    images = (CANVAS, FURTHER)
    found = await home.admit(operation=Operation.EDIT, images=images, references=own, input_fidelity=said)
    assert weights(found.recipe) == (weight, 0.7)


@pytest.mark.parametrize(("said", "weight"), [(None, 1.0), ("low", 0.5), ("high", 1.0), (0.25, 0.25)])
async def test_a_variation_is_guided_by_its_picture_and_begins_anew(
    home: AdmissionKit, said: str | float | None, weight: float
) -> None:
    found = await home.admit("", operation=Operation.VARY, images=(CANVAS,), input_fidelity=said)
    assert (weights(found.recipe), found.recipe.strength) == ((weight,), 1.0)
    assert found.recipe.task is Task.IMAGE_TO_IMAGE
    near = await home.admit("", operation=Operation.VARY, images=(CANVAS,), strength=0.4)
    assert (weights(near.recipe), near.recipe.strength) == ((1.0,), 0.4)


async def test_a_picture_of_no_weight_is_left_out(home: AdmissionKit) -> None:
    nothing = await home.admit(references=(Reference(upload(SECOND, "references"), 0.0),))
    assert (nothing.recipe.image_prompt, nothing.inputs.pictures) == (None, {})
    varied = await home.admit("", operation=Operation.VARY, images=(CANVAS,), input_fidelity=0.0)
    assert (varied.recipe.image_prompt, varied.recipe.strength) == (None, 0.6)


async def test_without_an_adapter_each_picture_not_used_is_named(bare: AdmissionKit) -> None:
    rubbish = Upload("references[0].image", b"\x89PNG\r\n\x1a\n")
    found = await bare.admit(
        operation=Operation.EDIT, images=(CANVAS, FURTHER), markup=MARKUP, references=(Reference(rubbish, 1.0),)
    )
    assert found.warnings == (
        "Not used: image[1], markup, references[0].image. This model has no IP-Adapter to be guided by.",
    )
    assert found.recipe.image_prompt is None
    varied = await bare.admit("", operation=Operation.VARY, images=(CANVAS,), input_fidelity="high")
    assert varied.warnings == ("Not used: input_fidelity. This model has no IP-Adapter to be guided by.",)
    assert varied.recipe.strength == 0.6


async def test_without_an_adapter_they_are_refused_where_the_operator_says_so(tmp_path: Path) -> None:
    home = admission_kit(tmp_path, edits=Edits(unused_images="refuse"))
    error = await refusal(home, operation=Operation.EDIT, images=(CANVAS,), markup=MARKUP)
    assert (type(error), error.param) == (InvalidImage, "markup")
    assert (await home.admit("", operation=Operation.VARY, images=(CANVAS,))).warnings == ()


async def test_pictures_that_cannot_guide(home: AdmissionKit) -> None:
    broken = Reference(Upload("references[0].image", upload(FIRST).data[:200]))
    error = await refusal(home, references=(Reference(FURTHER), broken))
    assert (type(error), error.param) == (InvalidImage, "references[0].image")
    many = tuple(Reference(Upload(f"references[{at}]", b"")) for at in range(16))
    error = await refusal(home, operation=Operation.EDIT, images=(CANVAS, FURTHER), references=many)
    assert (type(error), error.param) == (InvalidRequest, "references[15]")


async def test_painted_again_with_the_weights_of_its_recipe(home: AdmissionKit) -> None:
    given = (Reference(upload(SECOND, "references[0]"), 0.8), Reference(upload(THIRD, "references[1]"), 0.1))
    first = (await home.admit(references=given, seed=1)).recipe
    assert first.image_prompt is not None
    bare = tuple(Reference(one.upload) for one in given)
    replay = Replay(
        first.task,
        first.checkpoint_digest,
        first.inputs,
        ip_adapter_digest=first.image_prompt.digest,
        reference_weights=first.image_prompt.weights,
    )
    assert (await home.admit(references=bare, seed=1, replay=replay)).recipe == first
    error = await refusal(home, references=bare[:1], seed=1, replay=replay)
    assert (type(error), error.param) == (RecipeChanged, "recipe.inputs")
    error = await refusal(home, seed=1, replay=replay)
    assert (type(error), error.param) == (RecipeChanged, "recipe.ip_adapter.digest")
