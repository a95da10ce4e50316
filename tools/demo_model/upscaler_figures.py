"""Measures the demo's upscaler on drawings it never saw, and keeps the figures beside the sha256 of its file."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from sdxl_gateway.catalog.upscalers import open_upscaler
from sdxl_gateway.config import Upscaler as Section
from sdxl_gateway.engine.models.upscalers import Upscaler, load_upscaler

from . import scenes, upscaler
from .figures import Record

LARGE = 1024
DRAWN = 12
SEED = 2028


@dataclass(frozen=True)
class UpscalerFigures:
    """Mean PSNR in dB over held-out drawings of what is made of one a fourth as large, a little soft and noisy."""

    enlarged: float
    lanczos: float


RECORD = Record("upscaler_figures.json", UpscalerFigures, (upscaler.TARGET,))


def shipped() -> Upscaler:
    """The net, as the server loads it."""
    entry = open_upscaler("demo", Section(path=upscaler.TARGET))
    return load_upscaler(entry, torch.device("cpu"), torch.float32)


def measured(net: Upscaler, count: int = DRAWN) -> UpscalerFigures:
    """Of so many drawings."""
    rng = random.Random(SEED)
    ours, lanczos = zip(*(_of_one(net, rng) for _ in range(count)), strict=True)
    return UpscalerFigures(float(np.mean(ours)), float(np.mean(lanczos)))


@torch.inference_mode()
def _of_one(net: Upscaler, rng: random.Random) -> tuple[float, float]:
    meant = scenes.picture_of(rng, scenes.held_out_scene(rng), (LARGE, LARGE))
    small = upscaler.worn(upscaler.shrunk(meant, Image.Resampling.BOX), rng)
    found = net.net(upscaler.pixels_of([small])).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0)
    resized = Image.fromarray(small).resize((LARGE, LARGE), Image.Resampling.LANCZOS)
    return decibels(found.to(torch.uint8).numpy(), meant), decibels(np.asarray(resized), meant)


def decibels(picture: scenes.Picture, meant: scenes.Picture) -> float:
    """Peak signal-to-noise ratio."""
    error = np.square(picture.astype(np.float64) - meant.astype(np.float64)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def main() -> None:
    """Writes `upscaler_figures.json`."""
    torch.set_num_threads(1)
    figures = measured(shipped())
    RECORD.write(figures)


if __name__ == "__main__":
    main()
