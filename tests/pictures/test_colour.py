"""Uploads in other colour spaces keep their colours: they become sRGB on the way in; what is sRGB is not touched."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image, ImageCms

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.pictures.colour import MAX_PROFILE_BYTES
from sdxl_gateway.pictures.decode import Decoded
from tests.kit.colour_profiles import (
    ADOBE_CURVE,
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    SRGB_CURVE,
    display_profile,
    grey_profile,
    printer_profile,
)
from tests.kit.decoders import decode

Colour = tuple[int, int, int]
P3 = display_profile(DISPLAY_P3, SRGB_CURVE)
ADOBE = display_profile(ADOBE_RGB, ADOBE_CURVE)
# From the primaries, both spaces being D65; the curves are applied around them.
P3_TO_SRGB = ((1.22494, -0.22494, 0.0), (-0.04206, 1.04206, 0.0), (-0.01964, -0.07864, 1.09827))
ADOBE_TO_SRGB = ((1.39828, -0.39828, 0.0), (0.0, 1.0, 0.0), (0.0, -0.04294, 1.04294))


def linear(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def adobe_linear(value: int) -> float:
    return float((value / 255) ** ADOBE_CURVE[0])


def encoded(value: float) -> int:
    share = min(max(value, 0.0), 1.0)
    return round(255 * (share * 12.92 if share <= 0.0031308 else 1.055 * share ** (1 / 2.4) - 0.055))


def moved(colour: Colour, profile: bytes) -> Colour:
    """That colour in sRGB, by the book."""
    matrix, unbend = (P3_TO_SRGB, linear) if profile is P3 else (ADOBE_TO_SRGB, adobe_linear)
    light = [unbend(value) for value in colour]
    red, green, blue = (encoded(sum(a * b for a, b in zip(row, light, strict=True))) for row in matrix)
    return red, green, blue


def read(image: Image.Image, kind: str = "PNG", **options: object) -> Decoded:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return decode(Upload("image", buffer.getvalue()), None, Limits())


def pixel(found: Decoded) -> Colour:
    red, green, blue = found.image.crop((3, 3, 4, 4)).tobytes()
    return red, green, blue


def flat(mode: str, colour: tuple[int, ...] | int) -> Image.Image:
    return Image.new(mode, (8, 8), colour)


@pytest.mark.parametrize("profile", [P3, ADOBE], ids=["display-p3", "adobe-rgb"])
@pytest.mark.parametrize("colour", [(180, 90, 60), (60, 140, 80), (90, 100, 190), (128, 128, 128), (255, 255, 255)])
@pytest.mark.parametrize(("kind", "near"), [("PNG", 1), ("WEBP", 1), ("JPEG", 4)])
def test_display_p3_and_adobe_rgb_become_srgb(profile: bytes, colour: Colour, kind: str, near: int) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = read(flat("RGB", colour), kind, icc_profile=profile, **options)
    assert found.image.mode == "RGB"
    assert pixel(found) == pytest.approx(moved(colour, profile), abs=near)


def test_the_book_tells_the_spaces_apart() -> None:
    assert moved((180, 90, 60), P3) == (193, 83, 51)
    assert pixel(read(flat("RGB", (180, 90, 60)))) == (180, 90, 60)


def test_a_palette_is_turned_too() -> None:
    image = flat("P", 0)
    image.putpalette([180, 90, 60])
    assert pixel(read(image, icc_profile=P3)) == pytest.approx(moved((180, 90, 60), P3), abs=1)


def test_alpha_is_not_touched() -> None:
    image = flat("RGBA", (180, 90, 60, 255))
    image.putalpha(Image.linear_gradient("L").resize((8, 8)))
    plain, turned = read(image), read(image, icc_profile=P3)
    assert plain.mask is not None
    assert turned.mask is not None
    assert turned.mask.tobytes() == plain.mask.tobytes()
    assert pixel(turned) == pytest.approx(moved((180, 90, 60), P3), abs=1)


@pytest.mark.parametrize("profile", [P3, ADOBE, b"no profile"])
def test_a_masks_profile_means_nothing(profile: bytes) -> None:
    buffer = io.BytesIO()
    mask = flat("RGBA", (180, 90, 60, 255))
    mask.paste((0, 0, 0, 0), (2, 2, 6, 6))
    mask.save(buffer, "PNG", icc_profile=profile)
    picture = io.BytesIO()
    flat("RGB", (10, 20, 30)).save(picture, "PNG")
    found = decode(Upload("image", picture.getvalue()), Upload("mask", buffer.getvalue()), Limits())
    assert found.mask is not None
    assert found.mask.getbbox() == (2, 2, 6, 6)


def every_colour() -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((256, 256), spread) for spread in (90, 70, 50)])


@pytest.mark.parametrize(
    "profile",
    [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), display_profile(SRGB, SRGB_CURVE)],
    ids=["little-cms", "by-hand"],
)
def test_what_is_srgb_already_stays_bit_for_bit(profile: bytes) -> None:
    image = every_colour()
    assert read(image, icc_profile=profile).image.tobytes() == image.tobytes()


@pytest.mark.parametrize(
    "profile",
    [b"", b"\0", b"no profile", P3[:200], P3[:-40], P3.replace(b"acsp", b"nope"), P3 + bytes(MAX_PROFILE_BYTES)],
    ids=["empty", "a-byte", "text", "cut", "cut-late", "unsigned", "huge"],
)
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    image = every_colour()
    assert read(image, "WEBP", lossless=True, icc_profile=profile).image.tobytes() == image.tobytes()


@pytest.mark.parametrize("profile", [grey_profile((1.8,)), printer_profile(lambda inks: 100 - 25 * sum(inks))])
def test_a_profile_of_another_kind_is_ignored(profile: bytes) -> None:
    assert pixel(read(flat("RGB", (180, 90, 60)), icc_profile=profile)) == (180, 90, 60)


def test_grey_follows_its_curve() -> None:
    level = encoded((100 / 255) ** 1.8)
    assert pixel(read(flat("L", 100))) == (100, 100, 100)
    assert pixel(read(flat("L", 100), icc_profile=grey_profile((1.8,)))) == pytest.approx((level,) * 3, abs=1)
    assert pixel(read(flat("L", 100), icc_profile=P3)) == (100, 100, 100)


def test_inks_look_as_their_profile_says() -> None:
    """Black ink of lightness 50 is the grey 119 of sRGB; without the profile it would be black."""
    profile = printer_profile(lambda inks: 100 - 50 * inks[3] - 10 * sum(inks[:3]))
    black = flat("CMYK", (0, 0, 0, 255))
    assert pixel(read(black, "JPEG", quality=100, icc_profile=profile)) == pytest.approx((119, 119, 119), abs=2)
    assert pixel(read(black, "JPEG", quality=100)) == pytest.approx((0, 0, 0), abs=2)


def test_sixteen_bit_grey_is_not_touched() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 16, 0, 0, 0, 0))
    icc = chunk(b"iCCP", b"grey\0\0" + zlib.compress(grey_profile((1.0,))))
    rows = chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">4H", 0, 0x4000, 0x8000, 0xFFFF)))
    data = b"\x89PNG\r\n\x1a\n" + head + icc + rows + chunk(b"IEND", b"")
    image = decode(Upload("image", data), None, Limits()).image
    assert [image.getpixel((x, 0)) for x in range(4)] == [(v, v, v) for v in (0, 64, 128, 255)]
