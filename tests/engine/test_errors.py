"""Exceptions inside torch become errors for clients, and release the memory they held."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from sdxl_gateway.core.errors import DoesNotFit, EngineFault, GatewayError, InvalidRequest, NotFinite
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.ports import DeviceLost
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.engine import errors
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.errors import guarded, with_room
from sdxl_gateway.engine.latents import decoded
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.stages import decode, denoise
from tests.kit.engine import Studio, difference, recipe

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SECRET = "CUDA allocator at /home/somebody, 12.00 GiB"


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError(SECRET), DoesNotFit),
        (MemoryError(SECRET), DoesNotFit),
        (RuntimeError(f"MPS backend out of memory {SECRET}"), DoesNotFit),
        (RuntimeError(f"DefaultCPUAllocator: can't allocate memory: {SECRET}"), DoesNotFit),
        (RuntimeError(f"cuBLAS: CUBLAS_STATUS_ALLOC_FAILED {SECRET}"), DoesNotFit),
        (RuntimeError(f"GET was unable to find an engine to execute this computation {SECRET}"), DoesNotFit),
        (RuntimeError(f"cuDNN error: CUDNN_STATUS_INTERNAL_ERROR {SECRET}"), DoesNotFit),
        (RuntimeError(f"cuDNN error: CUDNN_STATUS_NOT_INITIALIZED {SECRET}"), DoesNotFit),
        (RuntimeError(f"CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate` {SECRET}"), DoesNotFit),
        (RuntimeError(f"CUDA error: CUBLAS_STATUS_EXECUTION_FAILED {SECRET}"), DeviceLost),
        (torch.AcceleratorError(f"cuDNN error: CUDNN_STATUS_INTERNAL_ERROR {SECRET}"), DeviceLost),
        (torch.AcceleratorError(SECRET), DeviceLost),
        (RuntimeError(f"CUDA error: an illegal memory access was encountered {SECRET}"), DeviceLost),
        (RuntimeError(f"shapes do not match {SECRET}"), EngineFault),
        (KeyError(SECRET), EngineFault),
    ],
)
def test_errors_of_the_library(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        guarded(raising(error))
    assert type(caught.value) is kind
    assert "somebody" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "told", ["unable to find an engine to execute this computation", "CUDNN_STATUS_INTERNAL_ERROR"]
)
def test_a_device_that_answers_nothing_any_more_is_lost(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setattr(errors, "device_answers", lambda: False)
    with pytest.raises(DeviceLost):
        guarded(raising(RuntimeError(told)))


@pytest.mark.parametrize(
    ("fault", "answers"),
    [(None, True), (torch.OutOfMemoryError("full"), True), (RuntimeError("CUDA error: unspecified"), False)],
)
def test_whether_a_device_lives_is_asked_by_a_tiny_piece_of_work(
    monkeypatch: pytest.MonkeyPatch, fault: Exception | None, answers: bool
) -> None:
    def ones(*_: object, **__: object) -> torch.Tensor:
        if fault is not None:
            raise fault
        return torch.zeros(1)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch, "ones", ones)
    assert errors.device_answers() == answers


def test_what_found_no_room_is_tried_once_more_when_there_is_some() -> None:
    said: list[str] = []

    def call() -> int:
        said.append("call")
        if "room" not in said:
            raise torch.OutOfMemoryError(SECRET)
        return 7

    assert with_room(call, lambda: said.append("room")) == 7
    assert said == ["call", "room", "call"]
    with pytest.raises(torch.OutOfMemoryError):
        with_room(raising(torch.OutOfMemoryError()), lambda: said.append("room"))
    assert said.count("room") == 2, "and not again"


@pytest.mark.parametrize("error", [KeyError(), DoesNotFit("a budget"), torch.AcceleratorError("gone")])
def test_what_has_nothing_to_do_with_memory_is_not_tried_again(error: Exception) -> None:
    with pytest.raises(type(error)):
        with_room(raising(error), lambda: pytest.fail("made room"))


def test_errors_of_the_house_pass() -> None:
    error = InvalidRequest("no", param="steps")
    with pytest.raises(InvalidRequest) as caught:
        guarded(raising(error))
    assert caught.value is error


def test_only_a_lost_device_is_fatal() -> None:
    assert not issubclass(EngineFault, DeviceLost)
    assert not issubclass(DeviceLost, GatewayError)


def test_an_error_holds_no_tensor() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def fail() -> None:
        big = torch.zeros(10)
        held.append(weakref.ref(big))
        raise torch.OutOfMemoryError(str(big.shape))

    with pytest.raises(DoesNotFit) as caught:
        guarded(fail)
    gc.collect()
    assert held[0]() is None
    assert caught.value.message


def checkpoint_of(studio: Studio) -> Checkpoint:
    return studio.loaded().checkpoint


def test_a_batch_too_large_is_taken_in_parts(fresh: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [recipe(seed=seed) for seed in (1, 2, 3)]
    alone = [fresh.paint(one) for one in wanted]
    unet = checkpoint_of(fresh).unet
    forward, rows_seen = unet.forward, []

    def cramped(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        rows_seen.append(len(sample))
        if len(sample) > 2:
            raise torch.OutOfMemoryError(SECRET)
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", cramped)
    canvases = [fresh.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    while canvases[0].steps_done < canvases[0].steps_total:
        fresh.engine.step(canvases)
    assert rows_seen.count(6) == rows_seen.count(4) == 1, "what found no room is not tried at each step"
    assert rows_seen.count(2) == 3 * canvases[0].steps_total
    for canvas, picture in zip(canvases, alone, strict=True):
        assert difference(fresh.engine.finish(canvas).result(), picture) <= 1


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_fault_in_a_shared_step_leaves_the_other_pictures_as_they_are(
    fresh: Studio, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    wanted = [recipe(seed=seed, sampler=sampler) for seed in (1, 2, 3)]
    alone = [fresh.paint(one) for one in wanted]
    canvases = [fresh.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    fresh.engine.step(canvases)
    monkeypatch.setattr(canvases[1].sampler, "step", raising(torch.OutOfMemoryError(SECRET)))

    with pytest.raises(DoesNotFit):
        fresh.engine.step(canvases)

    monkeypatch.undo()
    assert [canvas.steps_done for canvas in canvases] == [2, 1, 1]
    with pytest.raises(EngineFault):
        fresh.engine.step([canvases[1]])
    fresh.engine.step([canvases[2]])
    fresh.engine.step([canvases[0], canvases[2]])
    assert difference(fresh.engine.finish(canvases[0]).result(), alone[0]) <= 1
    assert difference(fresh.engine.finish(canvases[2]).result(), alone[2]) <= 1


def test_a_single_picture_too_large(fresh: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = fresh.engine.begin(recipe(), 0, NO_INPUTS)
    monkeypatch.setattr(checkpoint_of(fresh).unet, "forward", raising(torch.OutOfMemoryError(SECRET)))
    with pytest.raises(DoesNotFit):
        fresh.engine.step([canvas])
    monkeypatch.undo()
    fresh.engine.step([canvas])
    assert canvas.steps_done == 1


def test_a_unet_that_gives_nan(fresh: Studio) -> None:
    good = fresh.paint(recipe())
    weight = checkpoint_of(fresh).unet.conv_in.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(NotFinite):
        fresh.paint(recipe())
    with torch.no_grad():
        weight.copy_(before)
    assert fresh.paint(recipe()) == good


def test_a_vae_that_gives_nan(fresh: Studio) -> None:
    with torch.no_grad():
        checkpoint_of(fresh).vae.decoder.conv_out.bias[0] = float("nan")
    with pytest.raises(NotFinite):
        fresh.paint(recipe())


def test_a_vae_that_overflows_in_half_precision_decodes_again_in_float32_and_stays_wide(
    fresh: Studio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = fresh.paint(recipe())
    canvas = painted(fresh)
    vae = checkpoint_of(fresh).vae.to(torch.float16)
    with torch.no_grad():
        vae.decoder.conv_in.weight *= 3000
        vae.decoder.conv_in.bias *= 3000
        vae.decoder.mid_block.resnets[0].conv1.weight /= 3000
    overflowed = decoded(canvas.checkpoint, canvas.latents * 100)
    assert not torch.isfinite(overflowed).all()
    canvas.latents = canvas.latents * 100
    decodes: list[torch.dtype] = []
    inner = vae.decode

    def counted(latents: torch.Tensor, **named: Any) -> Any:
        decodes.append(latents.dtype)
        return inner(latents, **named)

    monkeypatch.setattr(vae, "decode", counted)
    wide = fresh.engine.finish(canvas).result()
    assert wide.width == good.width
    assert vae.dtype is torch.float16, "others may be decoding by it"
    canvas.picture = canvas.decoding = None
    with caplog.at_level("WARNING"):
        assert fresh.engine.finish(canvas).result() == wide
    assert "the VAE of demo overflows: it computes in torch.float32" in caplog.text
    assert decodes == [torch.float16, torch.float32], "a copy decoded in between, and the next picture is decoded once"


def test_a_vae_that_finds_no_room_to_widen_is_as_it_was(fresh: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = painted(fresh)
    vae = checkpoint_of(fresh).vae.to(torch.float16)
    monkeypatch.setattr(decode, "filled", raising(torch.OutOfMemoryError(SECRET)))
    monkeypatch.setattr(decode, "decoded", lambda *_: torch.full((1, 3, 8, 8), float("nan")))
    with pytest.raises(DoesNotFit):
        fresh.engine.finish(canvas).result()
    assert {p.dtype for p in vae.parameters()} == {torch.float16}


def painted(studio: Studio) -> Canvas:
    canvas = studio.engine.begin(recipe(), 0, NO_INPUTS)
    while canvas.steps_done < canvas.steps_total:
        studio.engine.step([canvas])
    return canvas


def test_a_preview_of_broken_latents_is_a_picture(fresh: Studio) -> None:
    canvas = painted(fresh)
    canvas.pred_original = torch.full_like(canvas.latents, float("nan"))
    assert fresh.engine.preview(canvas).result().width == canvas.recipe.paint_width


@pytest.mark.parametrize("task", [Task.IMAGE_TO_IMAGE, Task.INPAINT])
def test_an_edit_without_its_picture(demo: Studio, task: Task) -> None:
    with pytest.raises(EngineFault, match="missing"):
        demo.paint(recipe(task=task))


def test_more_steps_than_the_sampler_knows(demo: Studio) -> None:
    with pytest.raises(InvalidRequest) as caught:
        demo.engine.begin(recipe(sampler="lcm", steps=60), 0, NO_INPUTS)
    assert caught.value.param == "steps"


def test_a_sampler_nobody_knows(demo: Studio) -> None:
    with pytest.raises(InvalidRequest) as caught:
        demo.engine.begin(replace(recipe(), sampler="plms"), 0, NO_INPUTS)
    assert caught.value.param == "sampler"


def test_predictions_do_not_move_the_canvas(demo: Studio) -> None:
    canvas = demo.engine.begin(recipe(), 0, NO_INPUTS)
    before = canvas.latents.clone()
    with torch.inference_mode():
        denoise.predict([canvas])
    assert torch.equal(canvas.latents, before)
    assert canvas.steps_done == 0
