"""Memory modes do not change pictures, one-byte weights change them a little, and large decodes are tiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdxl_gateway.catalog.model_files import TEXT_ENCODERS
from sdxl_gateway.config import DEMO_MODEL, Checkpoint, Memory
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.engine import load
from sdxl_gateway.engine.load import _refuse_contradictions, open_engine
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST, WEIGHTS_HOST
from sdxl_gateway.engine.memory.ledger import VRAM
from sdxl_gateway.engine.models.checkpoint import Checkpoint as Loaded
from sdxl_gateway.engine.models.loaders import LoadedCheckpoint
from sdxl_gateway.scheduling.memory_plan import UNLIMITED_BYTES, Wanted, plan_memory
from sdxl_gateway.scheduling.weight_sizes import Sizes
from tests.kit.device import DEVICE
from tests.kit.engine import Studio, contrast, difference, mask, photo, pixels, process_settings, psnr, recipe
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import copy_of_demo
from tests.kit.reference import Reference

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REPAINT = Inputs({"image": photo(), "mask": mask()})
ROUNDING = 0 if DEVICE == "cpu" else 1
"""On a GPU blends are written by a kernel that adds in another order."""
IN_16_BITS = "float32" if DEVICE == "cpu" else "float16"
"""The dtype of a GPU's results of 8-bit products; a CPU emulates them in any."""
LEVELS = {"int8": 20, "fp8": 80}
"""The largest error of a channel of the demo's pictures, of 255; it has far fewer weights than SDXL."""

Fast = Callable[..., list[Picture]]


def studio(
    data_directory: Path, *, names: tuple[str, ...] = ("demo",), dtype: str = "float32", **memory: Any
) -> Studio:
    config = process_settings(data_directory, {name: Checkpoint(path="demo") for name in names}, dtype=dtype)
    config = config.model_copy(update={"memory": Memory(**memory)})
    return Studio(open_engine(config, lambda _: None), DEMO_MODEL, data_directory)


def wishes(folder: Path) -> list[tuple[Recipe, Inputs]]:
    """With and without a blend on all components, one after another; from texts and from pictures."""
    on = blend((admitted(write_lora(folder / "a.safetensors", DEMO_MODEL, 1), folder), 0.8))
    guided = recipe(guidance_scale=5.0, negative_prompt="grey", sampler="dpmpp_2m", steps=4)
    return [
        (recipe(), NO_INPUTS),
        (recipe(blend=on), NO_INPUTS),
        (replace(guided, blend=on), NO_INPUTS),
        (recipe(task=Task.INPAINT, strength=0.8, steps=4, blend=on), REPAINT),
        (guided, NO_INPUTS),
        (recipe(), NO_INPUTS),
    ]


def painted(made: Studio, wanted: list[tuple[Recipe, Inputs]]) -> list[Picture]:
    return [made.paint(one, inputs) for one, inputs in wanted]


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Fast:
    """The pictures with all weights on the device; each is painted once."""

    @cache
    def paint(**memory: Any) -> list[Picture]:
        folder = tmp_path_factory.mktemp("fast")
        return painted(studio(folder, mode="fast", **memory), wishes(folder))

    return paint


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("mode", ["balanced", "low"])
def test_where_weights_are_changes_no_picture(tmp_path: Path, mode: str, dtype: str, fast: Fast) -> None:
    found = painted(studio(tmp_path, mode=mode, dtype=dtype), wishes(tmp_path))
    for one, other in zip(found, fast(dtype=dtype), strict=True):
        assert difference(one, other) <= ROUNDING


@pytest.mark.parametrize("mode", ["balanced", "low"])
def test_pictures_that_share_steps_and_a_second_checkpoint(tmp_path: Path, mode: str) -> None:
    fast, made = studio(tmp_path, mode="fast"), studio(tmp_path, mode=mode, names=("demo", "other"))
    wanted = [recipe(seed=seed) for seed in (1, 2, 3)]
    together = [_stepped(one, wanted) for one in (fast, made)]
    assert all(difference(*pair) <= ROUNDING for pair in zip(*together, strict=True))
    assert made.paint(recipe(checkpoint="other")) == fast.paint(recipe())
    assert made.paint(recipe(seed=5)) == fast.paint(recipe(seed=5))
    made.engine.close()
    assert made.engine._pool.ledger.held_bytes(WEIGHTS_HOST) == 0


def _stepped(made: Studio, wanted: list[Recipe]) -> list[Picture]:
    canvases = [made.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    while canvases[0].steps_done < canvases[0].steps_total:
        made.engine.step(canvases)
    return made.finish(canvases)


def test_the_ledger_says_where_weights_are(tmp_path: Path) -> None:
    """A model without weights on the device still counts there, so that it is evicted for the next."""
    held = {mode: _held(studio(tmp_path, mode=mode)) for mode in ("fast", "balanced", "low")}
    loaded = studio(tmp_path, mode="fast").loaded().checkpoint
    whole = loaded.size_bytes()
    unet = sum(tensor.nbytes for tensor in (*loaded.unet.parameters(), *loaded.unet.buffers()))
    assert held == {"fast": (whole, 0), "balanced": (unet, whole - unet), "low": (whole, whole)}


def _held(made: Studio) -> tuple[int, int]:
    ledger = made.engine._pool.ledger
    return ledger.held_bytes(VRAM), ledger.held_bytes(WEIGHTS_HOST)


@pytest.mark.parametrize("mode", ["fast", "balanced", "low"])
@pytest.mark.parametrize("weights", ["int8", "fp8"])
def test_one_byte_weights(tmp_path: Path, weights: str, mode: str, fast: Fast) -> None:
    """The pictures are near, the same in each mode, and the same again after a blend was applied and removed."""
    wanted = wishes(tmp_path)
    made = studio(tmp_path, mode=mode, weights=weights)
    bits = _bits(made.loaded())
    found = painted(made, wanted)
    assert found[0] == found[-1]
    assert found == fast(weights=weights)
    assert max(_off(*pair) for pair in zip(found, fast(), strict=True)) <= LEVELS[weights]
    made.paint(recipe(seed=3))
    assert all(torch.equal(one, other) for one, other in zip(bits, _bits(made.loaded()), strict=True))


def _off(one: Picture, other: Picture) -> float:
    return float(np.abs(pixels(one).astype(int) - pixels(other).astype(int)).mean())


def _bits(loaded: LoadedCheckpoint) -> list[torch.Tensor]:
    unet = loaded.checkpoint.unet
    return [
        tensor.detach().clone(memory_format=torch.contiguous_format).view(torch.uint8)
        for tensor in (*unet.parameters(), *unet.buffers())
    ]


def test_one_byte_weights_take_less_of_the_device_and_keep_the_checkpoints_own_on_the_host(tmp_path: Path) -> None:
    plain, small = (studio(tmp_path, mode="fast", weights=weights) for weights in ("native", "int8"))
    assert _held(small)[0] < 0.4 * _held(plain)[0]
    assert 0.6 * _held(plain)[0] < small.engine._pool.ledger.held_bytes(PRISTINE_HOST) < _held(plain)[0]


@pytest.mark.parametrize("mode", ["fast", "low"])
def test_products_of_8_bits(tmp_path: Path, mode: str, fast: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures are near, with and without a LoRA, and the same again after it was removed."""
    monkeypatch.setattr(load, "refuse_unable", lambda *_: None)
    wanted = wishes(tmp_path)
    made = studio(tmp_path, mode=mode, products="fp8", dtype=IN_16_BITS)
    bits, held = _bits(made.loaded()), _held(made)
    assert held[mode == "low"] < 0.8 * _held(studio(tmp_path, mode=mode, dtype=IN_16_BITS))[mode == "low"]
    found = painted(made, wanted)
    assert found[0] == found[-1]
    assert min(psnr(*pair) for pair in zip(found, fast(), strict=True)) > 33
    made.paint(recipe(seed=3))
    assert all(torch.equal(one, other) for one, other in zip(bits, _bits(made.loaded()), strict=True))


def _fits(made: Studio, pixels: int) -> Loaded:
    """The checkpoint, as on a device whose VAE has room for this many pixels at once."""
    loaded = made.loaded()
    checkpoint = replace(loaded.checkpoint, placement=replace(loaded.checkpoint.placement, whole_pixels=pixels))
    made.engine._pool._models["checkpoint", "demo"] = LoadedCheckpoint(checkpoint, loaded.switcher)
    checkpoint.vae.tile_sample_min_size, checkpoint.vae.tile_latent_min_size = 64, 64 // checkpoint.latent_scale
    return checkpoint


LARGE = recipe(width=128, height=96, paint_width=128, paint_height=96)
EDIT = replace(LARGE, task=Task.IMAGE_TO_IMAGE, strength=0.6)
PHOTO = Inputs({"image": photo(128, 96)})


@pytest.mark.parametrize(("wanted", "inputs"), [(LARGE, NO_INPUTS), (EDIT, PHOTO)])
def test_what_does_not_fit_in_one_piece_is_tiled_as_diffusers_does(
    tmp_path: Path, wanted: Recipe, inputs: Inputs
) -> None:
    made, reference = studio(tmp_path), Reference(copy_of_demo(tmp_path / "copy"))
    whole = made.paint(wanted, inputs)
    checkpoint = _fits(made, 128 * 96 - 1)
    tiled = made.paint(wanted, inputs)
    vae = reference.base.vae
    vae.enable_tiling()
    vae.tile_sample_min_size = checkpoint.vae.tile_sample_min_size
    vae.tile_latent_min_size = checkpoint.vae.tile_latent_min_size
    assert difference(tiled, reference.paint(wanted, inputs)) <= 1
    assert tiled != whole
    assert contrast(tiled) > 20
    _fits(made, 128 * 96)
    assert made.paint(wanted, inputs) == whole


def test_a_decode_that_found_no_room_is_tried_in_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = studio(tmp_path)
    checkpoint = _fits(made, 128 * 96 - 1)
    tiled = made.paint(LARGE)
    checkpoint = _fits(made, 2**40)
    decode = checkpoint.vae.decode

    def narrow(latents: torch.Tensor, **options: Any) -> Any:
        if not checkpoint.vae.use_tiling:
            raise torch.OutOfMemoryError("no room")
        return decode(latents, **options)

    monkeypatch.setattr(checkpoint.vae, "decode", narrow)
    assert made.paint(LARGE) == tiled


def test_a_vae_in_host_memory_that_broke_is_tried_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, tried = studio(tmp_path, mode="fast").paint(recipe()), []
    made = studio(tmp_path, mode="balanced")
    loaded = made.loaded()
    vae = loaded.checkpoint.vae.to(torch.bfloat16)
    decode = vae.decode

    def broken(latents: torch.Tensor, **options: Any) -> Any:
        tried.append(latents.dtype)
        (found,) = decode(latents, **options)
        return (found * torch.nan,) if latents.dtype is torch.bfloat16 else (found,)

    monkeypatch.setattr(vae, "decode", broken)
    for _ in range(2):
        assert difference(made.paint(recipe()), wanted) <= 8
    assert tried == [torch.bfloat16, torch.float32], "a copy of it decoded the first, and it stays so"


def test_what_the_settings_cannot_have_together_is_said(tmp_path: Path) -> None:
    config = process_settings(tmp_path, {"demo": Checkpoint(path="demo")}, compiled_sizes=("64x64",))
    with pytest.raises(CheckpointProblem, match=r"memory\.mode"):
        open_engine(config.model_copy(update={"memory": Memory(mode="low")}), lambda _: None)


@pytest.mark.parametrize("memory", [Memory(mode="balanced"), Memory(mode="low"), Memory(weights="fp8")])
def test_what_a_device_that_shares_the_hosts_memory_cannot_have_is_said(tmp_path: Path, memory: Memory) -> None:
    config = process_settings(tmp_path, {"demo": Checkpoint(path="demo")}).model_copy(update={"memory": memory})
    plan = plan_memory(Sizes(0, 0, 0, 0, 0, 0), UNLIMITED_BYTES, Wanted.of(memory, 4, 2, 2))
    with pytest.raises(CheckpointProblem, match=r"memory\."):
        _refuse_contradictions(config, torch.device("mps"), plan)


@pytest.mark.parametrize("mode", ["balanced", "low"])
@pytest.mark.parametrize("weights", ["native", "int8"])
def test_checkpoints_that_leave_for_one_another_and_return(tmp_path: Path, mode: str, weights: str) -> None:
    made = studio(tmp_path, names=("demo", "other"), mode=mode, weights=weights, vram_budget_bytes=2**20)
    wanted = wishes(tmp_path)[1][0]
    first = made.paint(wanted)
    assert made.paint(replace(wanted, checkpoint="other")) == first
    assert made.paint(wanted) == first
    held = [key for key in made.engine._pool.ledger.keys(WEIGHTS_HOST) if isinstance(key, tuple)]
    assert held == [("checkpoint", "demo")]
    made.engine.close()


def test_components_between_uses(tmp_path: Path) -> None:
    placement = studio(tmp_path, mode="balanced").loaded().checkpoint.placement
    assert [name for name in (*TEXT_ENCODERS, "unet", "vae") if placement.offloads(name)] == [*TEXT_ENCODERS, "vae"]
