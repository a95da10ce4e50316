"""The maps that ControlNets follow: edges as OpenCV finds them, and the plain ones."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sdxl_gateway.pictures.canny import _connected, canny
from sdxl_gateway.pictures.preprocess import PREPROCESSORS, preprocess

Rows = NDArray[np.uint8]


def waves(width: int, height: int) -> Rows:
    """Soft and hard edges in every direction, another in each colour; whole numbers alone, the same everywhere."""
    y, x = np.mgrid[0:height, 0:width]
    rings = ((x - width // 2) ** 2 + (y - height // 3) ** 2) // 97 % 256
    return np.stack([rings, (x * y) // 53 % 256, 90 * ((x + 2 * y) // 31 % 2)], axis=-1).astype(np.uint8)


def dots(width: int, height: int) -> Rows:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


# sha256 of cv2.Canny(rows, 100, 200), of OpenCV 5.0.0
OPENCV = [
    (waves(160, 120), "37cfe4a8773b14009c5ff863981129b26b14f8f309794e1a185175e7ce7f5f80"),
    (waves(33, 65), "0e5d74eeee7023e6b4aaa258f8c4e78069f0b363b3a96cb807f1d35b695b1fa1"),
    (dots(64, 48), "25bc436e624b494301b1723a51c9cdda94b5988db2b6f8142fd2f6a2cb718b4d"),
    (np.zeros((16, 16, 3), np.uint8), "5341e6b2646979a70e57653007a1f310169421ec9bdd9f1a5648f75ade005af1"),
]


@pytest.mark.parametrize(("rows", "digest"), OPENCV)
def test_edges_are_opencvs_bit_for_bit(rows: Rows, digest: str) -> None:
    assert hashlib.sha256(canny(Image.fromarray(rows)).tobytes()).hexdigest() == digest


def test_edges_of_a_square() -> None:
    rows = np.zeros((40, 40, 3), np.uint8)
    rows[10:30, 10:30] = 255
    found = np.asarray(canny(Image.fromarray(rows)))
    assert set(np.unique(found)) == {0, 255}
    assert found[20].nonzero()[0].tolist() == [9, 29]
    assert found.sum() == found[9:32].sum()
    assert found[12:28, 12:28].sum() == 0


def followed(edge: NDArray[np.bool_], sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One pixel after another."""
    kept, waiting = sure.copy(), deque(zip(*sure.nonzero(), strict=True))
    while waiting:
        row, column = waiting.popleft()
        near = (slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2))
        for down, across in zip(*(edge[near] & ~kept[near]).nonzero(), strict=True):
            place = (near[0].start + down, near[1].start + across)
            kept[place] = True
            waiting.append(place)
    return kept


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.floats(0, 0.3))
def test_weak_edges_count_where_they_touch_sure_ones(
    seed: int, height: int, width: int, dense: float, sure_share: float
) -> None:
    chance = np.random.default_rng(seed)
    edge = chance.random((height, width)) < dense
    sure = edge & (chance.random((height, width)) < sure_share)
    assert (_connected(edge, sure) == followed(edge, sure)).all()


def spiral(side: int) -> NDArray[np.bool_]:
    """One line to the middle, of a pixel's width."""
    rows, near, far = np.zeros((side, side), bool), 0, side - 1
    while far - near > 4:
        rows[near, max(near - 2, 0) : far + 1] = rows[near : far + 1, far] = True
        rows[far, near : far + 1] = rows[near + 2 : far + 1, near] = True
        near, far = near + 2, far - 2
    return rows


def test_a_line_of_any_length_takes_no_longer() -> None:
    edge = spiral(1024)
    sure = np.zeros_like(edge)
    sure[0, 0] = True
    start = time.perf_counter()
    assert (_connected(edge, sure) == edge).all()
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", PREPROCESSORS)
def test_maps_have_the_pictures_size(name: str, mode: str) -> None:
    for size in ((64, 96), (1, 1), (7, 200)):
        found = PREPROCESSORS[name](Image.new(mode, size, 90 if mode == "L" else (90, 20, 60)))  # type: ignore[index]
        assert found.size == size
        assert found.mode in ("RGB", "L")


def test_what_each_does() -> None:
    drawing = Image.fromarray(dots(256, 256))
    assert preprocess(drawing, "gray") == drawing.convert("L")
    assert preprocess(drawing, "line") == ImageOps.invert(drawing.convert("L"))
    sharp = np.asarray(drawing).astype(int)
    for name in ("blur", "tile"):
        soft = np.asarray(preprocess(drawing, name)).astype(int)
        assert np.abs(np.diff(soft, axis=0)).mean() < np.abs(np.diff(sharp, axis=0)).mean() / 2
        assert abs(soft.mean() - sharp.mean()) < 5


def test_a_server_that_finds_no_edges_loads_no_numpy() -> None:
    code = "import sys, sdxl_gateway.app, sdxl_gateway.pictures.preprocess; print('numpy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
