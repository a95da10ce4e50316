"""A net enlarges the finished picture tile by tile, between other pictures' steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdxl_gateway.catalog.upscalers import open_upscaler
from sdxl_gateway.config import Upscaler
from sdxl_gateway.core.errors import NotFinite
from sdxl_gateway.core.events import StageTimed
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Size
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.engine.latents import zero_to_one
from sdxl_gateway.engine.models.upscalers import UPSCALER, load_upscaler
from sdxl_gateway.scheduling import tiles
from tests.kit.engine import Studio, mask, photo, pixels, recipe, studio
from tests.kit.upscaler_files import compact, rrdb, written

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE", 32)


@pytest.fixture
def room(tmp_path: Path) -> Studio:
    nets = {"sharp": Upscaler(path=written(compact(4), tmp_path / "sharp.safetensors"))}
    return studio(tmp_path, upscalers=nets)


def enlarged(room: Studio, **changes: Any) -> Recipe:
    (digest,) = room.engine._pool.loaders[UPSCALER].names
    return recipe(upscaler="sharp", upscaler_digest=digest, **changes)


@pytest.mark.usefixtures("small_tiles")
def test_tiles_together_are_the_whole(room: Studio, tmp_path: Path) -> None:
    """The net's output depends on five pixels beyond each of its own, and every tile is given more."""
    plain = room.paint(recipe(steps=2, width=96, height=64))
    large = room.paint(enlarged(room, steps=2, width=96, height=64))
    entry = open_upscaler("one", Upscaler(path=tmp_path / "sharp.safetensors"))
    net = load_upscaler(entry, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        whole = net.net(zero_to_one(plain)).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
    assert (large.width, large.height) == (384, 256)
    assert np.abs(pixels(large).astype(int) - whole.astype(int)).max() <= 1


@pytest.mark.usefixtures("small_tiles")
def test_each_tile_is_a_step_and_others_step_between(room: Studio) -> None:
    alone = room.paint(recipe(steps=3, seed=5))
    large = room.engine.begin(enlarged(room, steps=1), 0, NO_INPUTS)
    other = room.engine.begin(recipe(steps=3, seed=5), 0, NO_INPUTS)
    assert (large.steps_total, other.steps_total) == (1 + 4, 3)
    room.engine.step([large])
    assert large.batch_key != other.batch_key
    while large.steps_done < large.steps_total:
        room.engine.step([large])
        if other.steps_done < other.steps_total:
            room.engine.step([other])
    assert room.engine.finish(other).result() == alone
    assert room.engine.finish(large).result().width == 4 * alone.width
    timed = [one.stage for one in room.told if isinstance(one, StageTimed)]
    assert (timed.count("upscale"), timed.count("decode")) == (4, 3)


@pytest.mark.usefixtures("small_tiles")
def test_an_inpaint_is_painted_as_without_it(room: Studio) -> None:
    inputs = Inputs({"image": photo(), "mask": mask()})
    wanted = recipe(task=Task.INPAINT, steps=3)
    plain, large = room.paint(wanted, inputs), room.engine.begin(enlarged(room, task=Task.INPAINT, steps=3), 0, inputs)
    while large.steps_done <= large.sampler_steps:
        room.engine.step([large])
    assert large.picture == plain
    assert room.engine.preview(large).result() == plain


def test_it_is_a_row_of_the_ledger_and_leaves(room: Studio) -> None:
    wanted = enlarged(room, steps=1)
    room.engine.prefetch(wanted).result(timeout=60)
    room.paint(wanted)
    assert ("upscaler", wanted.upscaler_digest) in room.engine._pool.ledger.keys("vram")
    room.engine.release(wanted)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    weights = rrdb(2)
    weights["conv_last.bias"] = torch.full((3,), float("nan"))
    room = studio(tmp_path, upscalers={"sharp": Upscaler(path=written(weights, tmp_path / "a.safetensors"))})
    with pytest.raises(NotFinite):
        room.paint(enlarged(room, steps=1))
    assert room.paint(recipe(steps=1)).width == 64


@pytest.mark.parametrize("size", [Size(64, 64), Size(1024, 1024), Size(8, 2048), Size(1216, 832), Size(264, 520)])
def test_tiles_cover_all_once(size: Size) -> None:
    covered = np.zeros((size.height, size.width), int)
    for tile in tiles.tiles_of(size):
        assert tile.left % 8 == tile.top % 8 == 0
        assert max(tile.width, tile.height) <= tiles.TILE + 8
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert covered.min() == covered.max() == 1
