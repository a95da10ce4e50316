"""At the start a picture is painted with guidance and one without, and costs are reported as they will be."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import torch

from sdxl_gateway.core.events import StageTimed, StepTaken
from sdxl_gateway.engine.canvas import Canvas, UNetCall
from sdxl_gateway.engine.load import stages_of
from sdxl_gateway.engine.stages import denoise
from sdxl_gateway.engine.trial import native_side
from sdxl_gateway.engine.unet.recorded import CALLS_BEFORE
from sdxl_gateway.engine.warm_up import warm_up
from sdxl_gateway.scheduling.costs import Costs
from tests.kit.engine import Studio, recipe

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_costs_are_those_of_the_last_picture(fresh: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[int, int]] = []
    unet_call = denoise.unet_call

    def seen(canvases: Sequence[Canvas]) -> UNetCall:
        call = unet_call(canvases)
        rows.append((len(call.sample), call.sample.shape[-1] * 8))
        return call

    monkeypatch.setattr(denoise, "unet_call", seen)
    before = len(fresh.told)
    checkpoint, steps = fresh.loaded().checkpoint, CALLS_BEFORE + 1
    warm_up(fresh.engine._pool, stages_of(fresh.engine._pool), checkpoint, fresh.told.append)
    told = fresh.told[before:]
    side = native_side(checkpoint)
    assert rows == [(1, side)] * steps + [(2, side)] * 2 * steps
    assert len([one for one in told if isinstance(one, StepTaken)]) == steps
    costs = Costs()
    for measurement in told:
        costs.observe(measurement)
    assert costs.known
    assert costs.decode_seconds > 0
    assert {one.stage for one in told if isinstance(one, StageTimed)} >= {"encode", "prepare", "decode"}


def test_where_it_cannot_be_painted_the_engine_opens_all_the_same(
    fresh: Studio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(denoise, "unet_call", no_room)
        warm_up(fresh.engine._pool, stages_of(fresh.engine._pool), fresh.loaded().checkpoint, lambda _: None)
    assert [record.levelno for record in caplog.records if "could not warm up" in record.message] == [logging.WARNING]
    assert fresh.paint(recipe()).width == recipe().width
