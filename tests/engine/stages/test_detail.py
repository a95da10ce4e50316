"""An enlarged picture is repainted in tiles: without seams or larger steps, and without changing others' pictures."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sdxl_gateway.config import DEMO_MODEL, Upscaler
from sdxl_gateway.core.errors import DoesNotFit, NotFinite
from sdxl_gateway.core.events import StageTimed
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture, Size
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.core.samplers import SAMPLERS
from sdxl_gateway.engine.models.upscalers import UPSCALER
from sdxl_gateway.engine.stages import detail
from sdxl_gateway.engine.stages.decode import decoded_on_host
from sdxl_gateway.pictures.finish import finish
from sdxl_gateway.pictures.pixels import from_image
from sdxl_gateway.scheduling.detail import detail_tiles
from tests.kit.engine import Studio, contrast, difference, photo, pixels, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.reference import Reference
from tests.kit.upscaler_files import compact, written

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LARGE: dict[str, Any] = {"width": 160, "height": 128, "paint_width": 64, "paint_height": 64}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("room")
    nets = {"sharp": Upscaler(path=written(compact(4), folder / "sharp.safetensors"))}
    made = studio(folder, upscalers=nets)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def diffusers() -> Reference:
    return Reference(DEMO_MODEL)


def by_hand(diffusers: Reference, wanted: Recipe, enlarged: Picture) -> Picture:
    """The enlarged picture repainted by diffusers, from the same seed."""
    over = replace(wanted, task=Task.IMAGE_TO_IMAGE, strength=wanted.detail)
    return diffusers.paint(over, Inputs({"image": enlarged}))


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "heun", "dpmpp_2m", "ddim"])
def test_one_tile_is_image_to_image(room: Studio, diffusers: Reference, sampler: str) -> None:
    wanted = recipe(steps=6, sampler=sampler, negative_prompt="green", detail=0.5)
    plain = room.paint(replace(wanted, detail=0.0))
    ours, theirs = room.paint(wanted), by_hand(diffusers, wanted, plain)
    assert contrast(theirs) > 20
    assert difference(ours, theirs) <= 1
    assert difference(ours, plain) > 5


def test_of_an_edit_and_with_a_blend(room: Studio, diffusers: Reference, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", DEMO_MODEL, 1)
    on = blend((admitted(path, room.data_directory), 0.8))
    theirs = Reference(DEMO_MODEL)
    theirs.base.load_lora_weights(path, adapter_name="a")
    theirs.base.set_adapters(["a"], [0.8])
    wanted = recipe(steps=6, task=Task.IMAGE_TO_IMAGE, strength=0.6, blend=on, detail=0.4)
    inputs = Inputs({"image": photo()})
    plain = room.paint(replace(wanted, detail=0.0), inputs)
    assert difference(room.paint(wanted, inputs), by_hand(theirs, wanted, plain)) <= 1


def test_after_a_net_at_the_asked_size(room: Studio, diffusers: Reference) -> None:
    """The net enlarges four times, but the result is twice as large, and repainted at that size."""
    (digest,) = room.engine._pool.loaders[UPSCALER].names
    wanted = recipe(steps=4, upscaler="sharp", upscaler_digest=digest, detail=0.5)
    enlarged = room.paint(replace(wanted, detail=0.0))
    assert enlarged.width == 256
    asked = from_image(finish(enlarged, Size(64, 64)))
    assert difference(room.paint(wanted), by_hand(diffusers, wanted, asked)) <= 1


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_every_sampler_takes_the_steps_that_were_counted(room: Studio, sampler: str, strength: float) -> None:
    wanted = recipe(steps=5, sampler=sampler, detail=strength)
    canvas = room.engine.begin(wanted, 0, NO_INPUTS)
    while canvas.large is None:
        room.engine.step([canvas])
    assert canvas.large.sampler_steps == wanted.detail_calls
    assert canvas.steps_total == canvas.sampler_steps + wanted.detail_calls + 2


def edges(wanted: Recipe) -> tuple[set[int], set[int]]:
    """Columns and rows at which a tile begins or ends."""
    tiles = detail_tiles(wanted)
    columns = {edge for tile in tiles for edge in (tile.left, tile.right)} - {0, wanted.width}
    return columns, {edge for tile in tiles for edge in (tile.top, tile.bottom)} - {0, wanted.height}


def jump(picture: Picture, wanted: Recipe) -> float:
    """The average difference between neighbouring pixels at the edges of tiles, relative to that of all."""
    rows = pixels(picture).astype(int)
    steps = [np.abs(np.diff(rows, axis=axis)).mean(axis=(1 - axis, 2)) for axis in (1, 0)]
    found = [at[[edge - 1 for edge in where]] for at, where in zip(steps, edges(wanted), strict=True)]
    return float(np.concatenate(found).mean() / np.concatenate(steps).mean())


def test_there_is_no_seam(room: Studio) -> None:
    """Compared to the same tiles painted separately, and put side by side."""
    wanted = recipe(steps=10, seed=3, detail=0.4, width=256, height=256, paint_width=128, paint_height=128)
    plain = room.paint(replace(wanted, detail=0.0))
    whole = pixels(from_image(finish(plain, Size(256, 256))))
    laid = np.zeros_like(whole)
    alone = replace(wanted, width=128, height=128, detail=0.0, strength=wanted.detail, task=Task.IMAGE_TO_IMAGE)
    for tile in detail_tiles(wanted):
        seen = whole[tile.top : tile.bottom, tile.left : tile.right]
        made = room.paint(alone, Inputs({"image": Picture(128, 128, "RGB", seen.tobytes())}))
        laid[tile.top : tile.bottom, tile.left : tile.right] = pixels(made)
    assert jump(Picture(256, 256, "RGB", laid.tobytes()), wanted) > 2
    assert jump(room.paint(wanted), wanted) < 1.5


def test_the_same_picture_in_any_company_and_after_one_that_left(room: Studio, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "b.safetensors", DEMO_MODEL, 2)
    wanted = recipe(steps=3, detail=0.5, sampler="euler_a", **LARGE)
    other = recipe(steps=40, seed=5, blend=blend((admitted(path, room.data_directory), 0.7)))
    alone, company = room.paint(wanted), room.paint(other)
    left = room.engine.begin(wanted, 1, NO_INPUTS)
    for _ in range(left.steps_total // 2):
        room.engine.step([left])
    assert left.large is not None
    together = [room.engine.begin(one, 0, NO_INPUTS) for one in (wanted, other)]
    assert len({canvas.batch_key for canvas in together}) == 2
    while any(canvas.steps_done < canvas.steps_total for canvas in together):
        for canvas in together:
            if canvas.steps_done < canvas.steps_total:
                room.engine.step([canvas])
    assert room.finish(together) == [alone, company]


def test_no_call_of_a_model_is_larger_than_a_tile(room: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, seen = room.loaded().checkpoint, list[tuple[int, ...]]()
    for model, name in ((checkpoint.unet, "forward"), (checkpoint.vae, "encode"), (checkpoint.vae, "decode")):
        whole = getattr(model, name)

        def noted(sample: Tensor, *rest: Any, _whole: Any = whole, **named: Any) -> Any:
            seen.append(tuple(sample.shape[-2:]))
            return _whole(sample, *rest, **named)

        monkeypatch.setattr(model, name, noted)
    wanted = recipe(steps=2, detail=0.5, **LARGE)
    large = room.paint(wanted)
    assert (large.width, large.height) == (160, 128)
    assert set(seen) == {(8, 8), (64, 64)}
    timed = [one.stage for one in room.told if isinstance(one, StageTimed)]
    tiles = len(detail_tiles(wanted))
    assert timed[-(tiles * 3 + 1) :] == ["decode", *["detail"] * tiles * 3]


def test_looks_at_it_show_the_picture_that_is_painted_over(room: Studio) -> None:
    wanted = recipe(steps=2, detail=0.5, **LARGE)
    canvas = room.engine.begin(wanted, 0, NO_INPUTS)
    while canvas.large is None:
        room.engine.step([canvas])
    assert room.engine.preview(canvas).result() == room.paint(replace(wanted, detail=0.0))


def test_numbers_that_are_none(room: Studio) -> None:
    wanted = recipe(steps=2, detail=0.5, **LARGE)
    canvas = room.engine.begin(wanted, 0, NO_INPUTS)
    while canvas.steps_done < canvas.steps_total - len(detail_tiles(wanted)):
        room.engine.step([canvas])
    assert canvas.large is not None
    canvas.large.latents = canvas.large.latents * float("nan")
    with pytest.raises(NotFinite):
        room.engine.step([canvas])
    assert room.paint(recipe(steps=1)).width == 64


def test_a_tile_that_finds_no_room_is_tried_again_and_a_turn_that_ends_is_not(
    room: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the sampler's state would advance twice, or a tile be added twice."""
    # Each lack of memory runs the garbage collector, which is slow in a process that runs whole test suites.
    monkeypatch.setattr(gc, "collect", lambda: 0)
    wanted = recipe(steps=2, detail=0.5, **LARGE)
    whole = room.paint(wanted)
    for name in ("_tile_values", "_large_canvas"):
        with monkeypatch.context() as cramped:
            cramped.setattr(detail, name, full_at_every_other_call(getattr(detail, name)))
            assert room.paint(wanted) == whole
    for name in ("first_latents", "advance"):
        with monkeypatch.context() as cramped:
            cramped.setattr(detail, name, full_at_every_other_call(getattr(detail, name)))
            with pytest.raises(DoesNotFit):
                room.paint(wanted)
    assert room.paint(wanted) == whole


def full_at_every_other_call(call: Callable[..., Any]) -> Callable[..., Any]:
    full = cycle((True, False))

    def tried(*given: Any) -> Any:
        if next(full):
            raise torch.OutOfMemoryError("full")
        return call(*given)

    return tried


def test_a_tile_that_overflows_is_decoded_in_float32(room: Studio) -> None:
    loaded = room.loaded().checkpoint
    latents = torch.ones(1, 4, 8, 8)

    def overflows(given: Tensor, **_: Any) -> tuple[Tensor]:
        return (torch.full((1, 3, 64, 64), float("inf")),)

    with torch.inference_mode(False):
        half = copy.deepcopy(loaded.vae).half()
    broken = replace(loaded, vae=half, decoder=overflows)
    with torch.inference_mode():
        torch.testing.assert_close(
            decoded_on_host(broken, latents), decoded_on_host(loaded, latents), rtol=0.02, atol=0.02
        )
