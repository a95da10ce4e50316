"""What a picture's file says of how it was made: other tools read it, and so does the server itself."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from sd_parsers import ParserManager

from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidImage
from sdxl_gateway.core.recipe import Blend, BlendPart
from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.infotext import infotext
from sdxl_gateway.pictures.written import EXIF_IFD, MAKER_NOTE, USER_COMMENT, Written, fits, read_written
from tests.kit.recipes import recipe

FORMATS = ("png", "jpeg", "webp")
TOLD: dict[str, Any] = {"prompt": "ein Fuchs, größer 🦊", "steps": 20, "loras": [{"name": "ink", "weight": 0.8}]}


def written(prompt: str = "ein Fuchs, größer 🦊") -> Written:
    blend = Blend.of([BlendPart("ab" * 32, 0.8, 0.8, "ink")])
    sampling = {"steps": 20, "sampler": "dpmpp_2m", "schedule": "karras"}
    made = recipe(prompt=prompt, negative_prompt="blurry, grey", blend=blend, **sampling)
    return Written(infotext(made, seed=8, version="1.0"), TOLD | {"prompt": prompt})


def read(data: bytes) -> Written | None:
    return read_written(Upload("image", data))


def image() -> Image.Image:
    return Image.new("RGB", (16, 16), (200, 30, 60))


def saved(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image().save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("output_format", FORMATS)
def test_it_comes_back_whole(output_format: str) -> None:
    assert read(encode(image(), output_format, written=written())) == written()


@pytest.mark.parametrize("output_format", FORMATS)
def test_nothing_is_written_unasked(output_format: str) -> None:
    assert read(encode(image(), output_format)) is None


@pytest.mark.parametrize("output_format", FORMATS)
def test_other_tools_read_it(output_format: str) -> None:
    found = ParserManager().parse(io.BytesIO(encode(image(), output_format, written=written())))
    assert found is not None
    assert found.generator.name == "AUTOMATIC1111"
    assert "ein Fuchs, größer 🦊" in found.full_prompt
    assert "blurry, grey" in found.full_negative_prompt
    (sampler,) = found.samplers
    assert (sampler.name, int(sampler.parameters["steps"])) == ("DPM++ 2M", 20)
    assert sampler.parameters["scheduler"] == "Karras"


def test_a_prompt_of_the_greatest_length_leaves_a_jpeg_without_it() -> None:
    longest = written("ö" * 32000)
    assert [fits(longest, name) for name in FORMATS] == [True, False, True]
    assert [read(encode(image(), name, written=longest)) for name in FORMATS] == [longest, None, longest]


def test_what_another_tool_wrote_is_read_as_its_text() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a fox\nSteps: 20, Seed: 1")
    assert read(saved("PNG", pnginfo=info)) == Written("a fox\nSteps: 20, Seed: 1")


@pytest.mark.parametrize(
    "note", ["", "[]", "{", "[" * 100_000, '{"a": NaN}', "7", '{"a": 1e999}', '{"a": ["\\ud800"]}', '{"\\udfff": 1}']
)
def test_a_recipe_that_is_none_is_none(note: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("sdxl-gateway", note)
    info.add_itxt("parameters", "a fox")
    found = read(saved("PNG", pnginfo=info))
    assert found == Written("a fox")


@pytest.mark.parametrize("comment", [b"", b"\0" * 8, b"JIS\0\0\0\0\0abc", b"UNICODE\0\xd8", b"short"])
def test_a_comment_in_no_known_encoding_says_nothing(comment: bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD).update({USER_COMMENT: comment, MAKER_NOTE: b"Canon\0\x01\x02"})
    found = read(saved("JPEG", exif=exif.tobytes()))
    assert found is None or found.recipe is None


def bomb() -> bytes:
    """A megabyte for each kilobyte of text."""
    info = PngImagePlugin.PngInfo()
    for place in range(80):
        info.add_text(f"text {place}", "a" * 2**20, zip=True)
    return saved("PNG", pnginfo=info)


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", encode(image(), "png")[:20], bomb()], ids=["empty", "gif", "cut", "bomb"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage, match="'image': it cannot be read") as refused:
        read(data)
    assert refused.value.param == "image"
