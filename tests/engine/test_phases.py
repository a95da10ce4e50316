"""A picture that another model takes over half-way, and work that matches its estimate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sdxl_gateway.catalog.checkpoints import open_checkpoint
from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from sdxl_gateway.core.events import Measurement, MemoryHeld, StepTaken
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.recipe import Phase
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.scheduling.costs import step_work
from tests.kit.engine import Studio, difference, process_settings, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.model_folders import UNET_FILE, change_weights, copy_of_demo, distilled_demo

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_each_step_is_taken_by_the_model_and_the_blend_of_its_phase(tmp_path: Path) -> None:
    other = copy_of_demo(tmp_path / "other")
    change_weights(other / UNET_FILE, lambda tensors: tensors.update({"conv_out.bias": tensors["conv_out.bias"] + 0.3}))
    config = process_settings(tmp_path, {"demo": Checkpoint(path="demo"), "other": Checkpoint(path=str(other))})
    told: list[Measurement] = []
    engine = open_engine(config, told.append)
    made = Studio(engine, other, tmp_path, told)
    on = blend((admitted(write_lora(tmp_path / "a.safetensors", other, 1), tmp_path), 0.8))
    calls: list[str] = []
    for name in ("other", "demo"):
        unet = engine._pool.checkpoint(name).checkpoint.unet
        unet.register_forward_hook(lambda *_, name=name: calls.append(name))

    told.clear()
    plain = recipe(steps=4)
    refined = replace(plain, later_phases=(Phase("other", "other", on, from_step=3),))
    canvas, beside = (engine.begin(one, 0, NO_INPUTS) for one in (refined, plain))
    for _ in range(3):
        assert canvas.batch_key == beside.batch_key
        engine.step([canvas, beside])
    assert canvas.batch_key != beside.batch_key
    engine.step([canvas])
    assert [m.blend for m in told if isinstance(m, MemoryHeld)] == [on.unet_key]
    engine.step([beside])
    assert calls == ["demo"] * 3 + ["other", "demo"]
    assert difference(engine.finish(canvas).result(), engine.finish(beside).result()) > 5
    assert difference(engine.finish(beside).result(), made.paint(plain)) <= 1
    engine.close()


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize("distilled", [True, False])
def test_the_work_estimated_is_the_work_done(tmp_path: Path, distilled: bool, guidance_scale: float) -> None:
    folder = distilled_demo(tmp_path / "distilled") if distilled else DEMO_MODEL
    entry = open_checkpoint("demo", Checkpoint(path=str(folder)), DEMO_MODEL)
    assert entry.embeds_guidance is distilled
    made = studio(tmp_path, folder)
    rows: list[int] = []

    def count(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        rows.append(len(given[0]))

    made.engine._pool.checkpoint("demo").checkpoint.unet.register_forward_pre_hook(count)
    wanted = recipe(guidance_scale=guidance_scale, steps=1, embeds_guidance=entry.embeds_guidance)
    made.engine.step([made.engine.begin(wanted, index, NO_INPUTS) for index in range(3)])
    (step,) = [m for m in made.told if isinstance(m, StepTaken)]
    assert step.work == pytest.approx(3 * step_work(wanted))
    assert step.work == pytest.approx(rows[0] * 64 * 64 / 1e6)
    assert rows == [3 if distilled or guidance_scale == 1.0 else 6]
    made.engine.close()
