"""Measuring parts of a UNet: its own blocks at their own widths, limited in size and timed one after the other."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D

import sdxl_gateway
from sdxl_gateway.engine.pace import blocks as blocks_module
from sdxl_gateway.engine.pace.blocks import LEAST_PAIRS, MOST_SECONDS, PRODUCTS, Work, blocks_of, levels_of, time_ratio

RESNET, TRANSFORMER = ResnetBlock2D.__name__, BasicTransformerBlock.__name__
WIDTHS = (320, 640, 1280)
PACKAGE = Path(sdxl_gateway.__file__).parent


def levels(folder: str) -> Any:
    return levels_of(json.loads((PACKAGE / folder / "unet" / "config.json").read_text("utf-8")))


def shapes(work: list[Work]) -> list[tuple[str, torch.Size]]:
    parts: list[Any] = list(work)
    return [(type(part.func).__name__, part.args[0].shape) for part in parts]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_small_models_blocks_are_as_large_as_in_its_pictures(dtype: torch.dtype) -> None:
    work = blocks_of(levels("demo_model"), 32, 1, dtype)
    assert shapes(work) == [
        (RESNET, (1, 32, 32, 32)),
        (RESNET, (1, 64, 16, 16)),
        (TRANSFORMER, (1, 16 * 16, 64)),
        (RESNET, (1, 96, 8, 8)),
        (TRANSFORMER, (1, 8 * 8, 96)),
    ]
    with torch.inference_mode():
        results = [torch.as_tensor(call()) for call in work]
    assert all(result.dtype is dtype and bool(result.isfinite().all()) for result in results)


def test_sdxls_blocks_have_as_many_rows_as_threads_do_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "_with_dummy_weights", lambda module, _: module)
    sdxl = levels("sdxl_configs")
    for threads, most in {1: (18, 9, 4), 1000: (128, 64, 32)}.items():
        work = blocks_of(sdxl, 128, threads, torch.float32)
        sides = [shape[-1] for name, shape in shapes(work) if name == RESNET]
        assert tuple(sides) == most
        assert all(
            (side * width) ** 2 <= threads * PRODUCTS for side, width in zip(sides, (320, 640, 1280), strict=True)
        )


@dataclass
class Ticking:
    """A clock that each pass advances by its cost."""

    now: float = 0.0
    passes: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def passing(self, name: str, *costs: float) -> list[Work]:
        """A work with these costs; the last one repeats."""
        left = list(costs)

        def work() -> None:
            self.passes.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return [work]


def test_pairs_are_taken_in_turn_and_neither_a_first_pass_nor_a_stray_one_counts() -> None:
    clock = Ticking()
    ours, theirs = clock.passing("ours", 9, 1, 7, 1), clock.passing("theirs", 1, 2, 2, 2, 9, 2)
    assert time_ratio(ours, theirs, clock) == 0.5
    assert clock.passes == ["ours", "theirs"] * (1 + LEAST_PAIRS)


def test_short_passes_are_taken_for_half_a_second() -> None:
    clock = Ticking()
    ratio = partial(time_ratio, clock.passing("ours", 2**-7), clock.passing("theirs", 2**-6))
    assert ratio(clock) == 0.5
    assert clock.now == pytest.approx(MOST_SECONDS, abs=2**-4)
