"""Measures what the demo's refiner makes of the last steps, and keeps the figures beside the sha256 of its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel

from sdxl_gateway.config import DEMO_MODEL

from . import evaluate, refiner, scenes
from .figures import Record

COUNT = 16
FIRST_SEED = 2029
REFINED_FROM = 0.6
"""How far along the refiner takes over."""


@dataclass(frozen=True)
class RefinerFigures:
    """Means over held-out prompts of one thing, the last steps being the refiner's, and the demo's own (`without`).

    `shape` is how much of their union the thing and its shape's template share; `astray` how far, of 255, a pixel is
    from the nearer one of the two colours asked for.
    """

    shape: float
    shape_without: float
    astray: float
    astray_without: float


RECORD = Record("refiner_figures.json", RefinerFigures, (refiner.TARGET / "diffusion_pytorch_model.safetensors",))


def pipelines() -> tuple[Any, Any]:
    """The demo's, and the refiner's, in float32."""
    plain = evaluate.load_pipeline(DEMO_MODEL)
    net = UNet2DConditionModel.from_pretrained(refiner.TARGET, dtype=torch.float32)
    shared = {name: plain.components[name] for name in ("vae", "text_encoder_2", "tokenizer_2", "scheduler")}
    last = StableDiffusionXLImg2ImgPipeline(
        **shared, unet=net, text_encoder=None, tokenizer=None, requires_aesthetics_score=True
    )
    last.set_progress_bar_config(disable=True)
    return plain, last


def refined(plain: Any, last: Any, case: evaluate.Case) -> scenes.Picture:
    """The picture for a prompt, begun by the demo."""
    said = {"prompt": case.prompt, "num_inference_steps": evaluate.STEPS, "guidance_scale": evaluate.GUIDANCE}
    generator = torch.Generator().manual_seed(case.seed)
    size = {"width": 256, "height": 256}
    begun = plain(**said, **size, denoising_end=REFINED_FROM, output_type="latent", generator=generator).images
    image = last(**said, image=begun, denoising_start=REFINED_FROM, aesthetic_score=refiner.SCORE).images[0]
    return np.asarray(image.convert("RGB"))


def shape(picture: scenes.Picture, case: evaluate.Case) -> float:
    """How much of their union the thing and its shape share."""
    return evaluate.overlaps(evaluate.foreground(picture))[case.scene.things[0].shape]


def astray(picture: scenes.Picture, case: evaluate.Case) -> float:
    """How far a pixel is from the nearer one of the two colours asked for, in the mean."""
    asked = np.array([scenes.PALETTE[name] for name in (case.scene.things[0].colour, case.scene.background)])
    distances = np.linalg.norm(picture[:, :, None].astype(np.float32) - asked, axis=3)
    return float(distances.min(axis=2).mean())


def measured(count: int = COUNT) -> RefinerFigures:
    """Of that many prompts."""
    cases, (plain, last) = evaluate.cases(count, 0, FIRST_SEED), pipelines()
    with_it = [refined(plain, last, case) for case in cases]
    without = evaluate.paint(plain, cases, batch=1)
    return RefinerFigures(*(_mean(how, pictures, cases) for how in (shape, astray) for pictures in (with_it, without)))


def _mean(how: Any, pictures: Sequence[scenes.Picture], cases: Sequence[evaluate.Case]) -> float:
    return float(np.mean([how(*pair) for pair in zip(pictures, cases, strict=True)]))


def main() -> None:
    """Writes `refiner_figures.json`."""
    torch.set_num_threads(1)
    RECORD.write(measured())


if __name__ == "__main__":
    main()
