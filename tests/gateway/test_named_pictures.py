"""Pictures that were only named come into their places, or are refused by their field's name."""

from __future__ import annotations

import pytest

from sdxl_gateway.core.ask import Ask, ControlRef, Elsewhere, Operation, Place, Reference, Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest
from sdxl_gateway.gateway.named_pictures import NamedPictures

CALLER = Caller(tenant="me")


class Shelf:
    """Gives the name back as bytes, and says who asked."""

    async def bring(self, upload: Upload, caller: Caller) -> bytes:
        assert upload.elsewhere is not None
        return f"{caller.tenant}:{upload.elsewhere.name}".encode()


def named(field: str) -> Upload:
    return Upload(field, b"", Elsewhere(Place.FILE, f"file of {field}"))


ASK = Ask(
    Operation.EDIT,
    images=(Upload("image[0]", b"here"), named("image[1].file_id")),
    mask=named("mask.file_id"),
    markup=named("markup.file_id"),
    controls=(ControlRef("canny", named("controls[0].file_id"), weight=0.5),),
    references=(Reference(named("references[0].file_id"), 0.25), Reference(Upload("references[1]", b"too"))),
)


async def test_every_place_is_filled_and_the_rest_stays() -> None:
    whole = await NamedPictures({Place.FILE: Shelf()}, most_bytes=1000).brought(ASK, CALLER)
    assert (whole.images[0].data, [upload.elsewhere for upload in whole.uploads]) == (b"here", [None] * 7)
    assert [upload.field for upload in whole.uploads] == [upload.field for upload in ASK.uploads]
    assert [one.data for one in whole.uploads if one.field.endswith("file_id")] == [
        f"me:file of {one.field}".encode() for one in ASK.uploads if one.field.endswith("file_id")
    ]
    assert (whole.controls[0].weight, whole.references[0].weight, whole.references[1].upload.data) == (
        0.5,
        0.25,
        b"too",
    )


async def test_an_ask_that_is_whole_is_itself() -> None:
    ask = Ask(Operation.EDIT, images=(Upload("image", b"x"),))
    assert await NamedPictures({}, most_bytes=0).brought(ask, CALLER) is ask


async def test_a_place_nobody_knows_is_refused_by_its_field() -> None:
    with pytest.raises(InvalidRequest) as refused:
        await NamedPictures({}, most_bytes=0).brought(ASK, CALLER)
    assert (refused.value.param, refused.value.code) == ("image[1].file_id", "unsupported_parameter")


async def test_more_than_a_body_may_have_is_refused() -> None:
    with pytest.raises(BodyTooLarge) as refused:
        await NamedPictures({Place.FILE: Shelf()}, most_bytes=50).brought(ASK, CALLER)
    assert refused.value.param == "markup.file_id"
