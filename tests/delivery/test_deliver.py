"""Every pixel leaves by one door: finished, encoded, and kept where that is asked for."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from sdxl_gateway.core.errors import StorageFull
from sdxl_gateway.core.events import Painted, Previewed
from sdxl_gateway.core.picture import KeptRegion, Picture
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.delivery.deliver import NOT_KEPT, NOT_WRITTEN, Deliverer, Output
from tests.kit.images import MemoryImages
from tests.kit.jobs import recipe
from tests.kit.mattes import PartMatte

LEFT = PartMatte(share=0.5)
RED, BLUE = (200, 10, 10), (10, 10, 200)


def flat(colour: tuple[int, int, int], side: int = 8) -> Picture:
    return Picture(side, side, "RGB", bytes(colour) * (side * side))


def output(
    made: Recipe | None = None, *, kept: KeptRegion | None = None, keep: bool = True, must_keep: bool = False
) -> Output:
    return Output(made or recipe(), kept, "png", 100, "me", keep, must_keep)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("keep", [True, False])
async def test_a_picture_leaves_with_its_receipt_and_under_its_name(keep: bool) -> None:
    images = MemoryImages()
    presented = await Deliverer(images, embed_recipe=False).deliver(
        Painted("a", 2, 9, flat(RED)), output(recipe("a fox"), keep=keep)
    )
    assert (presented.index, presented.seed, presented.recipe["seed"]) == (2, 9, 9)
    assert presented.recipe["prompt"] == "a fox"
    assert opened(presented.data).getpixel((0, 0)) == RED
    assert images.kept == ({presented.stored: presented.data} if keep else {})
    assert (presented.stored is not None) is keep
    assert {one.tenant for one in images.kept} == ({"me"} if keep else set())
    assert presented.warnings == ()


async def test_a_look_is_neither_kept_nor_written_in() -> None:
    images = MemoryImages()
    look = await Deliverer(images, embed_recipe=True).preview(Previewed("a", 0, 1, flat(RED)), output(recipe("a fox")))
    assert (look.partial_index, opened(look.data).getpixel((0, 0))) == (1, RED)
    assert not images.kept
    assert b"fox" not in look.data


@pytest.mark.parametrize("output_format", ["png", "webp"])
async def test_a_subject_stands_alone_where_the_recipe_says_so(output_format: str) -> None:
    deliverer = Deliverer(MemoryImages(), embed_recipe=True, matte=LEFT)
    larger = replace(recipe(), width=16, height=16)
    for made, mode in ((larger, "RGB"), (replace(larger, matte=LEFT.digest), "RGBA")):
        leaving = replace(output(made), output_format=output_format)
        look = await deliverer.preview(Previewed("a", 0, 0, flat(RED)), leaving)
        picture = await deliverer.deliver(Painted("a", 0, 7, flat(RED)), leaving)
        assert (opened(look.data).mode, opened(picture.data).mode) == ("RGB", mode)
        assert picture.recipe["background"] == made.background
        assert ("matte_digest" in picture.recipe) is (made.matte is not None)
    image = opened(picture.data)
    assert (image.size, image.getchannel("A").tobytes()) == ((16, 16), (b"\xff" * 8 + bytes(8)) * 16)


async def test_what_must_be_kept_is_kept_in_looks_too_and_both_have_the_asked_size() -> None:
    larger = replace(recipe(), width=16, height=16)
    mask = Picture(16, 16, "L", bytes(128) + bytes([255]) * 128)
    leaving = output(larger, kept=KeptRegion(flat(BLUE, 16), mask))
    deliverer = Deliverer(MemoryImages(), embed_recipe=False)
    look = await deliverer.preview(Previewed("a", 0, 0, flat(RED)), leaving)
    picture = await deliverer.deliver(Painted("a", 0, 7, flat(RED)), leaving)
    for data in (look.data, picture.data):
        image = opened(data)
        assert (image.size, image.getpixel((0, 0)), image.getpixel((0, 15))) == ((16, 16), BLUE, RED)


@pytest.mark.parametrize(("output_format", "warned"), [("png", ()), ("jpeg", (NOT_WRITTEN,)), ("webp", ())])
async def test_a_recipe_too_long_for_its_file_is_told(output_format: str, warned: tuple[str, ...]) -> None:
    leaving = replace(output(recipe("ö" * 32000)), output_format=output_format, embed_recipe=True)
    presented = await Deliverer(MemoryImages(), embed_recipe=False).deliver(Painted("a", 0, 7, flat(RED)), leaving)
    assert presented.warnings == warned
    assert opened(presented.data).size == (8, 8)


async def test_a_picture_that_cannot_but_must_be_kept_does_not_leave() -> None:
    deliverer = Deliverer(MemoryImages(full=True), embed_recipe=False)
    with pytest.raises(StorageFull, match="b64_json") as refused:
        await deliverer.deliver(Painted("a", 0, 7, flat(RED)), output(must_keep=True))
    assert refused.value.param == "response_format"


async def test_a_picture_that_cannot_be_kept_and_need_not_be_leaves_with_a_warning() -> None:
    deliverer = Deliverer(MemoryImages(full=True), embed_recipe=False)
    presented = await deliverer.deliver(Painted("a", 0, 7, flat(RED)), output())
    assert (presented.stored, presented.warnings) == (None, (NOT_KEPT,))
    assert opened(presented.data).getpixel((0, 0)) == RED
