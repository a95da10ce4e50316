"""A matte model reads a picture as its authors trained it, and gives an alpha of the picture's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sdxl_gateway.matting.kinds import KINDS, Kind
from sdxl_gateway.matting.net import MatteNet
from sdxl_gateway.nets.session import Stop
from tests.kit import matte_files

PLAIN = Kind(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def alpha(path: Path, kind: Kind, image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(MatteNet(path, kind, 1).alpha(image, Stop()))


def halves(left: int, right: int, size: tuple[int, int] = (32, 16)) -> Image.Image:
    """Red as far as these, green and blue at full."""
    image = Image.new("RGB", size, (left, 255, 255))
    image.paste((right, 255, 255), (size[0] // 2, 0, *size))
    return image


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("side", [16, "side"])
def test_the_alpha_has_the_pictures_size(tmp_path: Path, side: int | str, half: bool) -> None:
    path = matte_files.model(tmp_path / "m.onnx", side=side, half=half)
    found = alpha(path, PLAIN, halves(0, 255, (200, 90)))
    assert found.shape == (90, 200)
    assert (int(found[:, :80].max()), int(found[:, 120:].min())) == (0, 255)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (PLAIN, (51, 153)),
        (Kind(16, (0.1, 0.5, 0.5), (0.5, 1.0, 1.0)), (51, 255)),
        (Kind(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), logits=True), (140, 165)),
        (Kind(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), stretched=True), (0, 255)),
    ],
)
def test_each_kind_reads_and_answers_in_its_own_way(tmp_path: Path, kind: Kind, expected: tuple[int, int]) -> None:
    found = alpha(matte_files.model(tmp_path / "m.onnx"), kind, halves(51, 153, (16, 16)))
    assert (int(found[8, 1]), int(found[8, -2])) == expected


def test_u2net_reads_a_dark_picture_as_a_bright_one(tmp_path: Path) -> None:
    path = matte_files.model(tmp_path / "m.onnx")
    image = halves(51, 153)
    dark = image.point([value // 3 for value in range(256)] * 3)
    kind = Kind(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), by_brightest=True)
    assert np.abs(alpha(path, kind, dark).astype(int) - alpha(path, kind, image)).max() <= 1


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255)])
def test_a_picture_of_one_colour_is_no_error(tmp_path: Path, kind: Kind, colour: tuple[int, int, int]) -> None:
    found = alpha(matte_files.model(tmp_path / "m.onnx"), kind, Image.new("RGB", (24, 24), colour))
    assert len(np.unique(found)) == 1


def test_numbers_that_are_none_are_no_alpha(tmp_path: Path) -> None:
    path = matte_files.model(tmp_path / "m.onnx", spoil="Log")
    with pytest.raises(ValueError, match="not finite"):
        alpha(path, PLAIN, Image.new("RGB", (16, 16)))
