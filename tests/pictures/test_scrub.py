"""What a file says beside its pixels is gone from what is stored and from what leaves; the picture is the same."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from sdxl_gateway.core.ask import Operation, Upload
from sdxl_gateway.core.errors import InvalidImage
from sdxl_gateway.gateway.events import Presented
from sdxl_gateway.gateway.packed import unpack_ask
from sdxl_gateway.pictures.decode import decode_picture
from sdxl_gateway.pictures.scrub import scrubbed
from tests.kit.gateway import CALLER, ask, gateway_kit, noise, upload

KINDS = ("PNG", "JPEG", "WEBP")
MARK = "TELLTALE"
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description creator="{MARK}"/></x:xmpmeta>'.encode()


def telling(kind: str, *, orientation: int = 1, mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> bytes:
    """A picture whose file tells where it was taken, by whom and with what, in every way its format knows."""
    image = Image.effect_noise(size, 90).convert("RGB")
    image.paste((200, 20, 20), (0, 0, 30, 20))
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = exif[0x0110] = MARK
    exif[0x0112] = orientation
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.5), 29: MARK})
    more: dict[str, object] = {
        "exif": exif,
        "xmp": XMP,
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }
    if kind == "PNG":
        text = PngInfo()
        text.add_text("Comment", MARK)
        text.add_text("Author", MARK, zip=True)
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        more = {"exif": exif, "icc_profile": more["icc_profile"], "pnginfo": text}
    if kind == "JPEG":
        more |= {"comment": MARK.encode(), "quality": 95, "progressive": True}
    if kind == "WEBP":
        more["lossless"] = True
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, kind, **more)
    return buffer.getvalue() + (MARK.encode() if kind != "WEBP" else b"")


def tells(data: bytes) -> bool:
    """The mark, which every field carries (the place on earth too), is in the file, packed or not."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        said = repr(image.info) + repr(dict(image.getexif())) + repr(image.getexif().get_ifd(0x8825))
    return MARK in said or MARK.encode() in data


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_picture_tells_nothing(kind: str, orientation: int) -> None:
    data = telling(kind, orientation=orientation)
    assert tells(data)
    clean = scrubbed(Upload("image", data))
    assert not tells(clean)
    assert scrubbed(Upload("image", clean)) == clean
    before, after = (decode_picture(Upload("image", one), 2**20) for one in (data, clean))
    assert before.tobytes() == after.tobytes()
    assert after.size == ((96, 64) if orientation == 1 else (64, 96))
    with Image.open(io.BytesIO(clean)) as image:
        assert dict(image.getexif()) == ({} if orientation == 1 else {0x0112: 6})
        assert "icc_profile" in image.info


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_picture_stays_what_it_is(kind: str) -> None:
    buffer = io.BytesIO()
    ImageOps.mirror(Image.effect_noise((40, 24), 50)).save(buffer, kind)
    assert scrubbed(Upload("image", buffer.getvalue())) == buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_is_refused_by_its_field(kind: str) -> None:
    data = telling(kind)
    for length in (0, 3, 30, len(data) // 3, len(data) // 2):
        with pytest.raises(InvalidImage) as told:
            scrubbed(Upload("image[0]", data[:length]))
        assert told.value.param == "image[0]"
    for wrong in (b"GIF89a" + bytes(50), b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**31, b"IHDR")):
        with pytest.raises(InvalidImage):
            scrubbed(Upload("image", wrong))


def test_more_pixels_than_pillow_opens_are_refused() -> None:
    data = bytearray(telling("PNG"))
    struct.pack_into(">II", data, 16, 60_000, 60_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    with pytest.raises(InvalidImage):
        scrubbed(Upload("image", bytes(data)))


def test_of_several_pictures_in_a_jpeg_the_first_stays() -> None:
    first, second = (Image.new("RGB", (16, 8), colour) for colour in ("red", "blue"))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    clean = scrubbed(Upload("image", buffer.getvalue()))
    with Image.open(io.BytesIO(clean)) as image:
        assert (image.format, image.size) == ("JPEG", (16, 8))
    assert b"MPF" not in clean
    before, after = (decode_picture(Upload("image", one), 2**20) for one in (buffer.getvalue(), clean))
    assert before.tobytes() == after.tobytes()


def test_marks_in_packed_texts_go_too() -> None:
    assert zlib.compress(MARK.encode()) not in scrubbed(Upload("image", telling("PNG")))


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_of_an_upload_is_in_what_leaves(kind: str, tmp_path: Path) -> None:
    """Neither in the pictures, with or without a recipe inside, nor in the recipe."""
    sent = Upload("image", telling(kind, size=(64, 64)))
    async with gateway_kit(tmp_path, embed_recipe=True) as kit:
        for output_format in ("png", "jpeg", "webp"):
            items = await kit.paint(operation=Operation.EDIT, images=(sent,), output_format=output_format)
            picture = next(item for item in items if isinstance(item, Presented))
            assert MARK not in json.dumps(picture.recipe)
            with Image.open(io.BytesIO(picture.data)) as image:
                image.load()
                assert "icc_profile" not in image.info
                assert MARK not in repr(image.info) + repr(image.getexif().get_ifd(0x8825))
            assert MARK.encode() not in picture.data


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_of_an_upload_is_kept_with_a_job(kind: str, tmp_path: Path) -> None:
    """Until its turn comes it lies on the disk, a batch's line as any other; what is painted is the same."""
    mask = upload(noise((64, 64), (8, 8, 40, 40)), "mask")
    sent = ask(operation=Operation.EDIT, images=(Upload("image", telling(kind, size=(64, 64))),), mask=mask, seed=3)
    async with gateway_kit(tmp_path) as kit:
        for batch in (None, "batch_1"):
            job = await kit.tasks.submit(sent, CALLER, batch=batch)
            kept = unpack_ask(job.ask, (tmp_path / "uploads" / (job.uploads or "")).read_bytes()).ask
            assert [one.field for one in kept.uploads] == ["image", "mask"]
            assert not any(tells(one.data) for one in kept.uploads)
            before, after = (decode_picture(one.uploads[0], 2**20) for one in (sent, kept))
            assert before.tobytes() == after.tobytes()
