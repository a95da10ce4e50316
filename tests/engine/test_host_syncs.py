"""The host runs ahead of the device: what a begin, a step and a finish would wait for on CUDA, counted on the CPU.

Samplers are counted with something small in place of the UNet, which has a test of its own. benchmarks/syncs.py
counts on a real device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from diffusers.models import modeling_utils
from torch import Tensor

from benchmarks.blends import TINY, Blender, Factors, random_unet
from sdxl_gateway.core.prompt import PLAIN_READING
from sdxl_gateway.core.samplers import SAMPLERS
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.device import to_device
from sdxl_gateway.engine.lora.table import Kernel, MergeTable
from sdxl_gateway.engine.models.loaders import LoadedCheckpoint
from sdxl_gateway.engine.stages.encode import Text, encode_text, encode_texts
from sdxl_gateway.engine.timing import HostMark
from sdxl_gateway.scheduling.detail import detail_tiles
from tests.kit.device_tensors import CUDA, HOST, DeviceTensor, Watched, watching
from tests.kit.engine import difference
from tests.kit.fake_cuda import FakeCuda, move_to_cuda, move_to_fake_cuda
from tests.kit.tasks import House, house

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

TASKS = ("text", "image", "inpaint", "inpainting UNet", "control", "references", "refined")
BY_EACH_SAMPLER = ("text", "image", "inpaint", "inpainting UNet", "refined")
"""Controls and references do not depend on samplers, and take long."""
DRAWING = {"ddim": {"eta": 0.7}, "tcd": {"eta": 0.3}}
"""Samplers that draw noise if these options are set."""


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house(tmp_path_factory.mktemp("cpu"), device="cpu")
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def on_cuda(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house(tmp_path_factory.mktemp("cuda"), device="cpu")
    move_to_fake_cuda(made.engine)
    yield made
    made.engine._pool._models.clear()
    made.engine.close()


@pytest.fixture(autouse=True)
def _fake_cuda() -> Iterator[None]:
    with FakeCuda():
        yield


@pytest.fixture
def small(on_cuda: House) -> Iterator[House]:
    """As `on_cuda`, with something small in place of its UNets."""
    models = on_cuda.engine._pool._models
    before = dict(models)
    for key, model in before.items():
        if isinstance(model, LoadedCheckpoint):
            models[key] = replace(model, checkpoint=replace(model.checkpoint, denoiser=_some_of))
    yield on_cuda
    models.update(before)


def _some_of(sample: Tensor, timesteps: Tensor, **_: Any) -> tuple[Tensor]:
    return (sample[:, :4] * 0.3,)


def steps(made: House, canvas: Canvas) -> list[Watched]:
    """What each step asked of the device."""
    found = []
    while canvas.steps_done < canvas.steps_total:
        with watching() as watched:
            made.engine.step([canvas])
        found.append(watched)
    return found


def waits(steps: list[Watched]) -> list[str]:
    return [one for step in steps for one in step.waits]


@pytest.mark.parametrize("task", BY_EACH_SAMPLER)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_step_waits_for_nothing(small: House, sampler: str, task: str) -> None:
    asked = small.tasks[task].by(sampler, steps=6, **DRAWING.get(sampler, {}))
    assert waits(steps(small, small.begin(asked))) == []


@pytest.mark.parametrize("task", TASKS)
def test_nor_does_it_with_the_unet_itself_and_paints_the_same(on_cuda: House, on_cpu: House, task: str) -> None:
    asked = on_cuda.tasks[task].by("unipc")
    canvas = on_cuda.begin(asked)
    assert waits(steps(on_cuda, canvas)) == []
    with watching() as watched:
        picture = on_cuda.engine.finish(canvas)
    assert watched.waits == [], "who wants the picture waits, and no step"
    assert difference(picture.result(), on_cpu.paint(asked)) <= 1


def test_a_detail_pass_waits_for_its_picture_and_the_pixels_of_its_tiles_alone(on_cuda: House, on_cpu: House) -> None:
    sizes = {"width": 128, "height": 64, "paint_width": 64, "paint_height": 64}
    asked = on_cuda.tasks["text"].by("euler_a", steps=4, detail=0.5, **sizes)
    canvas, tiles = on_cuda.begin(asked), len(detail_tiles(asked.recipe))
    found = steps(on_cuda, canvas)
    assert waits(found[: canvas.sampler_steps]) == waits(found[canvas.sampler_steps + 1 : -tiles]) == []
    assert len(waits(found[-tiles:])) == tiles > 1
    assert difference(on_cuda.engine.finish(canvas).result(), on_cpu.paint(asked)) <= 1


def test_pictures_of_one_step_wait_for_nothing_together(small: House) -> None:
    canvases = [small.begin(small.tasks["text"].by(sampler)) for sampler in ("euler_a", "unipc", "lcm")]
    with watching() as watched:
        small.engine.step(canvases)
    assert watched.waits == []


@pytest.mark.parametrize("task", TASKS)
def test_a_beginning_waits_for_nothing(small: House, task: str) -> None:
    """With texts and pictures that are not in any cache."""
    asked = small.tasks[task].by("euler", prompt=f"for {task}", negative_prompt=f"not {task}")
    with watching() as watched:
        small.begin(asked)
    assert watched.waits == []


@pytest.mark.parametrize(("task", "bytes_each"), [("image", 3), ("inpaint", 4), ("inpainting UNet", 4), ("control", 6)])
def test_the_pictures_of_a_recipe_are_sent_in_one_copy(small: House, task: str, bytes_each: int) -> None:
    asked = small.tasks[task]
    small.begin(asked)
    with watching() as watched:
        small.begin(asked)
    pixels = asked.recipe.paint_width * asked.recipe.paint_height
    assert [shape for shape in watched.uploads if prod(shape) >= pixels] == [(pixels * bytes_each,)]


def _sends_its_table(merge: MergeTable, device: torch.device) -> None:
    """A kernel without its computation."""
    merge.words.to(device, non_blocking=True)


@pytest.mark.parametrize("kernel", [None, _sends_its_table], ids=["in stacks", "by a kernel"])
def test_a_switch_waits_for_nothing(kernel: Kernel | None) -> None:
    """The next step is launched while weights are written; there is no stream here that could be waited for."""
    unet = random_unet(TINY, HOST, torch.float16)
    move_to_cuda(unet)
    blender = Blender(unet, CUDA, kernel=kernel, clock=HostMark)
    first, second = (blender.give(digest, Factors(CUDA).lora(8)) for digest in ("first", "second"))
    blender.put_on([first])
    for blend in ([second], [first, second], []):
        with watching() as watched:
            blender.put_on(blend)
        assert watched.waits == []
        assert watched.launches


def test_both_texts_are_rows_of_one_call_and_read_as_alone(on_cuda: House) -> None:
    checkpoint = on_cuda.engine._pool.checkpoint("demo").checkpoint
    texts = [Text(text, {}, PLAIN_READING) for text in ("a red circle", "green")]
    with torch.inference_mode(), watching() as together:
        both = encode_texts(checkpoint, texts)
    with torch.inference_mode(), watching() as apart:
        alone = [encode_text(checkpoint, text.text) for text in texts]
    for one, other in zip(both, alone, strict=True):
        torch.testing.assert_close(one.tokens.cpu(), other.tokens.cpu(), rtol=0, atol=0)
        torch.testing.assert_close(one.pooled.cpu(), other.pooled.cpu(), rtol=0, atol=0)
    assert len(together.uploads) == 1
    assert together.launches.count("native_layer_norm") * 2 == apart.launches.count("native_layer_norm") > 0


def test_learnt_words_of_several_texts_do_not_wait(on_cuda: House) -> None:
    checkpoint = on_cuda.engine._pool.checkpoint("demo").checkpoint
    names = checkpoint.encoder_names
    widths = [encoder.get_input_embeddings().weight.shape[1] for encoder in checkpoint.text_encoders]
    taught = {name: DeviceTensor(torch.randn(2, width)) for name, width in zip(names, widths, strict=True)}
    with torch.inference_mode(), watching() as watched:
        found = encode_texts(checkpoint, [Text(text, {"sks": taught}, PLAIN_READING) for text in ("a sks", "b sks c")])
    assert watched.waits == []
    with torch.inference_mode():
        (alone,) = encode_texts(checkpoint, [Text("b sks c", {"sks": taught}, PLAIN_READING)])
        (plain,) = encode_texts(checkpoint, [Text("b sks c", {}, PLAIN_READING)])
    assert torch.equal(found[1].tokens.cpu(), alone.tokens.cpu())
    assert not torch.equal(alone.tokens.cpu(), plain.tokens.cpu())


@pytest.mark.parametrize("task", TASKS)
def test_nobody_looks_through_a_model_for_its_device_or_format(
    on_cpu: House, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers' `.device` and `.dtype` search 1700 modules of a UNet each time."""

    def looked(*_: object) -> None:
        raise AssertionError("looked through a model")

    on_cpu.paint(on_cpu.tasks[task])
    monkeypatch.setattr(modeling_utils, "get_parameter_device", looked)
    monkeypatch.setattr(modeling_utils, "get_parameter_dtype", looked)
    on_cpu.paint(on_cpu.tasks[task].by("euler", prompt=f"a look at {task}"))


def _on_device() -> Tensor:
    return DeviceTensor(torch.ones(2, 3))


WAITING: dict[str, Callable[[], object]] = {
    "a blocking copy": lambda: torch.ones(2).to(CUDA),
    "of what can be swapped out": lambda: torch.ones(2).to(CUDA, non_blocking=True),
    "of every other": lambda: torch.ones(4).pin_memory()[::2].to(CUDA, non_blocking=True),
    "what Python holds": lambda: torch.tensor([1.0], device=CUDA),
    "new_tensor": lambda: _on_device().new_tensor([1.0]),
    "item": lambda: _on_device().sum().item(),
    "bool": lambda: bool(_on_device().sum() > 1),
    "tolist": lambda: _on_device().tolist(),
    "cpu": lambda: _on_device().cpu(),
    "nonzero": lambda: _on_device().nonzero(),
    "a mask": lambda: _on_device()[_on_device() > 0],
    "places of the host": lambda: _on_device()[torch.tensor([1])],
    "a list of places": lambda: _on_device()[:, [1]],
    "solve": lambda: torch.linalg.solve(DeviceTensor(torch.eye(2)), DeviceTensor(torch.ones(2))),
}
AT_ONCE: dict[str, Callable[[], object]] = {
    "to_device": lambda: to_device(torch.ones(2, 3).T, CUDA, torch.float16),
    "filled there": lambda: torch.zeros(2, device=CUDA) + torch.full((2,), 3.0, device=CUDA),
    "a number of the host": lambda: _on_device() * torch.tensor(2.0),
    "a view": lambda: _on_device()[0, 1:],
    "places of the device": lambda: _on_device()[DeviceTensor(torch.tensor([1]))],
}


@pytest.mark.parametrize("asked", WAITING)
def test_what_waits_is_seen(asked: str) -> None:
    with watching() as watched:
        WAITING[asked]()
    assert len(watched.waits) == 1


@pytest.mark.parametrize("asked", AT_ONCE)
def test_what_does_not_is_not(asked: str) -> None:
    with watching() as watched:
        AT_ONCE[asked]()
    assert watched.waits == []


def test_devices_do_not_mix() -> None:
    with pytest.raises(RuntimeError, match="same device"):
        _on_device() + torch.ones(2, 3)
