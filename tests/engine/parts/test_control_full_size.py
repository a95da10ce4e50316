"""ControlNets of SDXL's real sizes, without values: they fit the UNet, and cost what the scheduler assumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel
from torch.utils.flop_counter import FlopCounterMode

from sdxl_gateway.catalog.controls import open_control
from sdxl_gateway.config import Control as Section
from sdxl_gateway.engine.canvas import UNetCall
from sdxl_gateway.engine.models.controls import PerCanvas, model_of
from sdxl_gateway.engine.parts.control import Control, Following
from sdxl_gateway.scheduling.costs import CONTROL_WORK
from tests.kit.sdxl_controls import SIDE, hollow_file, sdxl_unet, shapes_of

CANVASES, ROWS = 2, 2


def nobody_asks(*_: Any, **__: Any) -> Any:
    raise AssertionError


def call(channels: int = 4) -> UNetCall:
    rows = CANVASES * ROWS
    with torch.device("meta"):
        added = {"text_embeds": torch.empty(rows, 1280), "time_ids": torch.empty(rows, 6)}
        told = {"encoder_hidden_states": torch.empty(rows, 77, 2048), "added_cond_kwargs": added}
        return UNetCall(torch.empty(rows, channels, SIDE // 8, SIDE // 8), torch.empty(rows), None, nobody_asks, told)


def part(model: Any, *, union: bool) -> Control:
    with torch.device("meta"):
        mode = torch.zeros(ROWS, dtype=torch.long) if union else None
        following = Following("digest", torch.empty(ROWS, 3, SIDE, SIDE), torch.empty(ROWS, 1, 1, 1), mode)
    return Control(lambda _: model, (following,), (0,))


def operations(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("kind", [ControlNetModel, ControlNetUnionModel])
def test_it_joins_sdxls_unet(tmp_path: Path, kind: Any) -> None:
    unet, union = sdxl_unet(), kind is ControlNetUnionModel
    with torch.device("meta"):
        theirs = kind.from_unet(unet, load_weights_from_unet=False)
    entry = open_control("one", Section(path=str(hollow_file(tmp_path / "one.safetensors", shapes_of(theirs)))))
    model = model_of(entry)
    assert shapes_of(model) == shapes_of(theirs)
    if union:
        model.transformer_layes = torch.nn.ModuleList(map(PerCanvas, model.transformer_layes))
    joined = call(channels=9)
    control = operations(lambda: Control.join([part(model, union=union)] * CANVASES, joined))
    plain = call()
    assert operations(lambda: unet(plain.sample, plain.timesteps, **plain.arguments)) * CONTROL_WORK == pytest.approx(
        control, rel=0.02
    )
    assert unet(call().sample, joined.timesteps, **joined.arguments).sample.shape == (4, 4, SIDE // 8, SIDE // 8)
