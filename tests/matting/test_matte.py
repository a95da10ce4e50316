"""Mattes are made one at a time beside the event loop, and none holds it, or the next one, for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sdxl_gateway.core.errors import DeadlineExceeded, EngineFault
from sdxl_gateway.core.events import MatteEnded
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.matting.kinds import Kind
from sdxl_gateway.matting.matte import OnnxMatte
from sdxl_gateway.matting.net import MatteNet
from tests.kit import matte_files

PLAIN = Kind(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def matte_of(path: Path, seconds: float = 60.0, tell: Callable[[MatteEnded], None] = lambda ended: None) -> OnnxMatte:
    return OnnxMatte(MatteNet(path, PLAIN, 1), path, seconds, tell)


def flat(value: int, size: tuple[int, int] = (20, 10)) -> Picture:
    return Picture(*size, "RGB", bytes([value, 255, 255]) * (size[0] * size[1]))


async def test_several_at_once_each_get_their_own(tmp_path: Path) -> None:
    matte = matte_of(matte_files.model(tmp_path / "m.onnx"))
    found = await asyncio.gather(*(matte.alpha(flat(value)) for value in range(0, 200, 20)))
    assert [(one.mode, one.width, one.height) for one in found] == [("L", 20, 10)] * 10
    assert [int(np.frombuffer(one.pixels, np.uint8).mean()) for one in found] == list(range(0, 200, 20))


async def test_one_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    told: list[MatteEnded] = []
    matte = matte_of(matte_files.endless(tmp_path / "m.onnx"), seconds=0.3, tell=told.append)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="too long"):
        await matte.alpha(flat(9))
    assert time.monotonic() - began < 30
    assert [one.outcome for one in told] == ["late"]


async def test_who_goes_away_leaves_the_turn_to_the_next(tmp_path: Path) -> None:
    told: list[MatteEnded] = []
    matte = matte_of(matte_files.endless(tmp_path / "m.onnx"), seconds=600, tell=told.append)
    first = asyncio.create_task(matte.alpha(flat(9)))
    await asyncio.sleep(0.2)
    second = asyncio.create_task(matte.alpha(flat(9)))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    async with asyncio.timeout(30):
        found = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(one) for one in found] == [asyncio.CancelledError] * 2
    assert [one.outcome for one in told] == ["cancelled"]


async def test_a_model_that_fails_harms_its_own_picture_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[MatteEnded] = []
    matte = matte_of(matte_files.model(tmp_path / "m.onnx", spoil="Log"), tell=told.append)
    with pytest.raises(EngineFault, match="could not be told") as failed:
        await matte.alpha(flat(0))
    assert failed.value.code == "matte_failed"
    assert "the matte model failed" in caplog.text
    assert (await matte.alpha(flat(255))).pixels == bytes(200)
    assert [one.outcome for one in told] == ["failed", "made"]
