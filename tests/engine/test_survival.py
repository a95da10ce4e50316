"""A device with less free memory than planned: unused models are evicted, and the picture is painted all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.core.events import AdapterEvicted
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.engine.lora.writer import GroupWriter, Rewrite
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.stages.row_limits import STEPS_UNTIL_TRIED, RowLimits
from tests.kit.engine import Studio, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Studio]:
    """An engine with three unused LoRAs on the device."""
    made = studio(tmp_path)
    digests = [admitted(write_lora(tmp_path / f"{n}.safetensors", made.folder, n), tmp_path) for n in range(3)]
    asked = recipe(blend=blend(*[(digest, 0.1) for digest in digests]))
    made.engine.prefetch(asked).result(60)
    made.engine.release(asked)
    yield made
    made.engine.close()


class FullUntilRoomIsMade:
    """Replaces a function by one that is out of memory as long as the ledger still holds something unused."""

    def __init__(self, studio: Studio, inner: Callable[..., Any]) -> None:
        self.ledger = ledger_of(studio)
        self.inner = inner
        self.failures = 0

    def __call__(self, *args: Any, **named: Any) -> Any:
        if any(isinstance(key, tuple) and key[0] == "factors" for key in self.ledger.keys(VRAM)):
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.inner(*args, **named)


def ledger_of(studio: Studio) -> Ledger:
    return studio.engine._pool.ledger


def full(monkeypatch: pytest.MonkeyPatch, studio: Studio, owner: object, name: str) -> FullUntilRoomIsMade:
    found = FullUntilRoomIsMade(studio, getattr(owner, name))
    monkeypatch.setattr(owner, name, found)
    return found


def evicted(studio: Studio) -> int:
    return sum(isinstance(event, AdapterEvicted) and event.tier == VRAM for event in studio.told)


@pytest.mark.parametrize("what", ["unet.forward", "vae.decode", "text_encoders.0.forward"])
def test_a_step_a_decode_and_a_text_find_the_room_that_warm_loras_took(
    warm: Studio, demo: Studio, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    checkpoint = warm.loaded().checkpoint
    models = {"unet": checkpoint.unet, "vae": checkpoint.vae, "text_encoders": checkpoint.text_encoders[0]}
    expected, before = demo.paint(recipe()), ledger_of(warm).budget_bytes(VRAM)
    fault = full(monkeypatch, warm, models[what.partition(".")[0]], what.rpartition(".")[2])
    assert warm.paint(recipe()) == expected
    assert fault.failures == (2 if what == "vae.decode" else 1), "a decode is tried in tiles first"
    assert evicted(warm) == 3
    assert (ledger_of(warm).budget_bytes(VRAM) or 0) < (before or 0), "so much is not held again"


def test_a_switch_finds_the_room_that_warm_loras_took(warm: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    switched = admitted(write_lora(warm.data_directory / "x.safetensors", warm.folder, 9), warm.data_directory)
    asked = recipe(blend=blend((switched, 1.0)))
    warm.engine.prefetch(asked).result(60)
    faults = [torch.OutOfMemoryError("CUDA out of memory.")]
    inner = GroupWriter.write

    def write(writer: GroupWriter, rewrite: Rewrite) -> None:
        if faults:
            raise faults.pop()
        inner(writer, rewrite)

    monkeypatch.setattr(GroupWriter, "write", write)
    picture = warm.paint(asked)
    assert evicted(warm) == 3, "all but the one that is put on"
    monkeypatch.undo()
    assert warm.paint(asked) == picture


def test_a_model_finds_the_room_that_warm_loras_took(warm: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = warm.engine._pool
    loader = pool.loaders["checkpoint"]
    pool.ledger.drop(VRAM, ("checkpoint", "demo"))
    pool._evicted(("checkpoint", "demo"))
    fault = FullUntilRoomIsMade(warm, loader.load)
    monkeypatch.setattr(type(loader), "load", lambda _, name: fault(name))
    assert warm.paint(recipe()).width
    assert fault.failures == 1


def test_what_finds_no_room_at_all_is_refused_after_one_more_try(warm: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def forward(*_: object, **__: object) -> None:
        calls.append(None)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    canvas = warm.engine.begin(recipe(), 0, NO_INPUTS)
    with monkeypatch.context() as patch:
        patch.setattr(warm.loaded().checkpoint.unet, "forward", forward)
        with pytest.raises(DoesNotFit):
            warm.engine.step([canvas])
    assert len(calls) == 2
    warm.engine.step([canvas])
    assert canvas.steps_done == 1


def test_a_step_that_moved_is_not_taken_twice(warm: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    canvases = [warm.engine.begin(recipe(seed=seed), 0, NO_INPUTS) for seed in (1, 2)]
    moved: list[int] = []
    inner = canvases[0].sampler.step

    def step(*args: Any, **named: Any) -> Any:
        moved.append(1)
        return inner(*args, **named)

    def no_room(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(canvases[0].sampler, "step", step)
    monkeypatch.setattr(canvases[1].sampler, "step", no_room)
    with pytest.raises(DoesNotFit):
        warm.engine.step(canvases)
    assert moved == [1]
    assert [canvas.steps_done for canvas in canvases] == [1, 0]


def test_rows_that_found_no_room_are_tried_again_when_much_has_passed(demo: Studio) -> None:
    canvases = [demo.engine.begin(recipe(seed=seed), 0, NO_INPUTS) for seed in (1, 2, 3)]
    limits = RowLimits()
    assert not limits.forbid(canvases)
    limits.note(canvases)
    assert not limits.forbid(canvases[:2]), "fewer rows may fit"
    limits.note(canvases[:2])
    told = [limits.forbid(canvases) for _ in range(STEPS_UNTIL_TRIED)]
    assert told == [True] * (STEPS_UNTIL_TRIED - 1) + [False]
    larger = [demo.engine.begin(recipe(width=96, height=64), 0, NO_INPUTS) for _ in range(2)]
    assert not limits.forbid(larger), "another size is another matter"
