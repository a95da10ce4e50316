"""Small uploads that would cost much: refused for the work they ask for, before it is done."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidImage
from sdxl_gateway.pictures.decode import MAX_SCANS
from sdxl_gateway.pictures.jpeg_scans import scan_count
from tests.kit.bombs import with_scans
from tests.kit.decoders import decode


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(buffer, "JPEG", **options)
    return buffer.getvalue()


PROGRESSIVE = jpeg(progressive=True, quality=50)


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


@pytest.mark.parametrize(("options", "scans"), [({}, 1), ({"progressive": True}, 10), ({"restart_marker_rows": 1}, 1)])
def test_scans_are_counted(options: dict[str, bool], scans: int) -> None:
    assert scan_count(jpeg(**options)) == scans


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xff\xd8", b"\x89PNG\xff\xda\xff\xda", b"\xff\xd8\xff\xda", b"\xff" * 99]
)
def test_what_is_cut_or_no_jpeg_ends_the_count(data: bytes) -> None:
    assert scan_count(data) <= 1


def test_what_looks_like_a_scan_inside_a_segment_or_after_the_end_is_none() -> None:
    data = jpeg()
    commented = data[:2] + segment(0xFE, b"\xff\xda\xff\xd9" * 1000) + data[2:]
    assert scan_count(commented + b"\xff\xda" * 1000) == 1


@pytest.mark.parametrize(
    "between", [b"", b"\xff\xff\xff", b"garbage", b"\xff\xd3", b"\xff\x01", segment(0xFE, b"\xff\xd9 a word")]
)
def test_no_scan_hides_behind_what_a_decoder_skips(between: bytes) -> None:
    data = with_scans(PROGRESSIVE, MAX_SCANS + 1, between)
    assert scan_count(data) == MAX_SCANS + 1
    with pytest.raises(InvalidImage, match="more than 64 scans") as refused:
        decode(Upload("image", data), None, Limits())
    assert (refused.value.param, refused.value.code) == ("image", "invalid_image_file")
    assert decode(Upload("image", with_scans(PROGRESSIVE, MAX_SCANS, between)), None, Limits()).image.size == (64, 64)
