"""Uploads: every way a picture can be strange, and what comes of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidImage
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.pictures.decode import cover
from sdxl_gateway.pictures.pixels import from_image
from tests.kit.decoders import decode

LIMITS = Limits(max_input_pixels=100_000)
ORIENTATION = 0x0112
TURNED_RIGHT = 6
RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def half_and_half(mode: str = "RGB", size: tuple[int, int] = (16, 8)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def with_hole(alpha: int = 0, size: tuple[int, int] = (16, 8)) -> Image.Image:
    """Opaque but for the right half."""
    image = half_and_half("RGBA", size)
    image.putalpha(Image.new("L", size, 255))
    image.paste((*BLUE, alpha), (size[0] // 2, 0, *size))
    return image


def upload(data: bytes, field: str = "image") -> Upload:
    return Upload(field, data)


def refusal(image: bytes, mask: bytes | None = None, limits: Limits = LIMITS) -> InvalidImage:
    with pytest.raises(InvalidImage) as refused:
        decode(upload(image), None if mask is None else upload(mask, "mask"), limits)
    return refused.value


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, rows: bytes, extra: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats(kind: str) -> None:
    found = decode(upload(saved(half_and_half(), kind)), None, LIMITS)
    assert (found.image.mode, found.image.size, found.mask, found.task) == ("RGB", (16, 8), None, Task.IMAGE_TO_IMAGE)
    assert found.image.getpixel((1, 4)) == pytest.approx(RED, abs=40)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused(kind: str) -> None:
    error = refusal(saved(half_and_half(), kind))
    assert (error.param, error.code) == ("image", "invalid_image_file")


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"])
def test_what_is_no_picture_is_refused_in_plain_words(data: bytes) -> None:
    assert refusal(data).message == "Invalid image file for 'image': it cannot be decoded."


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_cut_short_is_refused(kind: str) -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    data = saved(noise, kind)
    assert refusal(data[: len(data) // 2]).param == "image"


@pytest.mark.parametrize("pixels", [100_001, 10**8, 2 * 10**8, 2**31 - 1])
def test_bombs_are_refused_by_their_header(pixels: int) -> None:
    error = refusal(png(pixels, 1, 8, 0, b"\0"))
    assert (error.code, error.param) == ("image_too_large", "image")
    assert "100000 pixels" in error.message


def test_the_largest_allowed_picture_is_read() -> None:
    assert decode(upload(saved(Image.new("RGB", (500, 200)))), None, LIMITS).image.size == (500, 200)


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    rows = b"\0" + struct.pack(">4H", 0, 0x4000, 0x8000, 0xFFFF)
    image = decode(upload(png(4, 1, 16, 0, rows)), None, LIMITS).image
    assert [image.getpixel((x, 0)) for x in range(4)] == [(v, v, v) for v in (0, 64, 128, 255)]


def test_sixteen_bit_colour() -> None:
    rows = b"\0" + struct.pack(">6H", 0xFFFF, 0, 0x8000, 0, 0xFFFF, 0)
    image = decode(upload(png(2, 1, 16, 2, rows)), None, LIMITS).image
    assert [image.getpixel((x, 0)) for x in range(2)] == [(255, 0, 128), (0, 255, 0)]


def test_sixteen_bit_grey_with_a_transparent_shade() -> None:
    rows = b"\0" + struct.pack(">2H", 0, 0xFFFF)
    found = decode(upload(png(2, 1, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 0)))), None, LIMITS)
    assert [found.image.getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_black_and_white_and_palettes(mode: str) -> None:
    found = decode(upload(saved(Image.new("RGB", (8, 8), "white").convert(mode))), None, LIMITS)
    assert found.image.getpixel((3, 3)) == (255, 255, 255)
    assert found.mask is None


def test_a_palette_with_a_transparent_colour_has_holes() -> None:
    image = Image.new("P", (8, 4), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (4, 0, 8, 4))
    found = decode(upload(saved(image, transparency=1)), None, LIMITS)
    assert found.mask is not None
    assert found.mask.getbbox() == (4, 0, 8, 4)
    assert found.image.getpixel((0, 0)) == RED
    assert found.task is Task.INPAINT


def test_a_colour_key_makes_holes() -> None:
    found = decode(upload(saved(half_and_half(), transparency=BLUE)), None, LIMITS)
    assert found.mask is not None
    assert found.mask.getbbox() == (8, 0, 16, 8)


def test_cmyk() -> None:
    found = decode(upload(saved(half_and_half("CMYK"), "JPEG")), None, LIMITS)
    assert found.image.mode == "RGB"
    assert found.image.getpixel((2, 4)) == pytest.approx(RED, abs=40)
    assert found.image.getpixel((13, 4)) == pytest.approx(BLUE, abs=40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    found = decode(upload(saved(half_and_half(), kind, exif=exif)), None, LIMITS)
    assert found.image.size == (8, 16)
    assert found.image.getpixel((4, 2)) == pytest.approx(RED, abs=60)
    assert found.image.getpixel((4, 13)) == pytest.approx(BLUE, abs=60)


def test_a_mask_is_compared_with_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    image, mask = saved(half_and_half(), "JPEG", exif=exif), saved(with_hole(size=(8, 16)))
    found = decode(upload(image), upload(mask, "mask"), LIMITS)
    assert found.mask is not None
    assert found.mask.getbbox() == (4, 0, 8, 16)


@pytest.mark.parametrize(("alpha", "repainted"), [(0, True), (127, True), (128, False), (255, False)])
def test_holes_are_where_it_is_more_than_half_transparent(alpha: int, repainted: bool) -> None:
    found = decode(upload(saved(with_hole(alpha))), None, LIMITS)
    assert (found.mask is not None) is repainted
    if found.mask is not None:
        assert found.mask.getbbox() == (8, 0, 16, 8)
        assert set(found.mask.tobytes()) == {0, 255}


def test_a_mask_beats_the_pictures_own_holes() -> None:
    mask = with_hole().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    found = decode(upload(saved(with_hole())), upload(saved(mask), "mask"), LIMITS)
    assert found.mask is not None
    assert found.mask.getbbox() == (0, 0, 8, 8)


def make_smaller() -> bytes:
    return saved(with_hole(size=(8, 8)))


def make_opaque() -> bytes:
    return saved(with_hole(255))


def make_without_alpha() -> bytes:
    return saved(half_and_half())


def make_broken() -> bytes:
    return make_smaller()[:40]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (make_smaller, "mask size does not match image size"),
        (make_opaque, "no transparent pixels"),
        (make_without_alpha, "missing alpha channel"),
        (make_broken, "'mask': it cannot be decoded"),
    ],
)
def test_masks_that_cannot_be_used(make: Callable[[], bytes], says: str) -> None:
    error = refusal(saved(half_and_half()), make())
    assert says in error.message
    assert error.param == "mask"


def test_cover_fills_and_cuts_evenly() -> None:
    stripes = Image.new("RGB", (40, 20), RED)
    stripes.paste(BLUE, (10, 0, 30, 20))
    square = cover(stripes, 20, 20, Image.Resampling.NEAREST)
    assert square.size == (20, 20)
    assert square.getcolors() == [(400, BLUE)]
    assert cover(square, 20, 20, Image.Resampling.LANCZOS) is square


def test_pixels_as_the_engine_wants_them() -> None:
    assert from_image(Image.new("RGB", (2, 1), RED)) == Picture(2, 1, "RGB", bytes([*RED, *RED]))
    assert from_image(Image.new("L", (2, 1), 7)) == Picture(2, 1, "L", b"\x07\x07")
