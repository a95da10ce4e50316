"""Measures how well the demo paints drawings that it is shown, and keeps the figures beside the sha256 of the files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from sdxl_gateway.config import DEMO_MODEL

from . import evaluate, reference, scenes
from .figures import Record

SEEDS = 16
FIRST_SEED = 2028
SIDE = 256


@dataclass(frozen=True)
class ReferenceFigures:
    """Means over held-out drawings: how far a painting without a prompt is from the drawing, in colour.

    The distance of the mean colours along the edges, and of the mean colours of the middles, in red, green and blue of
    255 each: of paintings that are `shown` the drawing, and of those of the same seeds `without`. `shape` is how often
    the shape that is shown is painted.
    """

    shown: float
    without: float
    shape: float
    shape_without: float


RECORD = Record(
    "reference_figures.json", ReferenceFigures, (reference.ADAPTER, reference.ENCODER / "model.safetensors")
)


def held_out_drawings(count: int = SEEDS) -> list[tuple[scenes.Scene, scenes.Picture]]:
    """Of scenes with one thing each that no training sees, all different."""
    rng = random.Random(FIRST_SEED)
    found: dict[scenes.Scene, None] = {}
    while len(found) < count:
        found[scenes.held_out_scene(rng, pair_share=0.0)] = None
    return [(scene, scenes.picture_of(rng, scene, (SIDE, SIDE))) for scene in found]


def pipeline_with_adapter() -> Any:
    """The demo's, in float32; `shown` of 0 is as without."""
    pipeline = evaluate.load_pipeline(DEMO_MODEL)
    folders = {"subfolder": "", "image_encoder_folder": reference.ENCODER.name}
    pipeline.load_ip_adapter(reference.TARGET, weight_name=reference.ADAPTER.name, **folders)
    pipeline.image_encoder.float()
    pipeline.unet.float()
    return pipeline


def painted(pipeline: Any, drawings: Sequence[scenes.Picture], weight: float = 1.0) -> list[scenes.Picture]:
    """A picture for each, without a prompt."""
    pipeline.set_ip_adapter_scale(weight)
    return [_one(pipeline, drawing, FIRST_SEED + seed) for seed, drawing in enumerate(drawings)]


def _one(pipeline: Any, drawing: scenes.Picture, seed: int) -> scenes.Picture:
    image = pipeline(
        "",
        ip_adapter_image=Image.fromarray(drawing),
        num_inference_steps=evaluate.STEPS,
        guidance_scale=evaluate.GUIDANCE,
        width=SIDE,
        height=SIDE,
        generator=torch.Generator().manual_seed(seed),
    ).images[0]
    return np.asarray(image.convert("RGB"))


def distance(one: scenes.Picture, other: scenes.Picture) -> float:
    """Between the mean colours along the edges, and between those in the middle, in the mean."""
    middle = slice(SIDE // 2 - 16, SIDE // 2 + 16)
    parts = [(evaluate.frame(one), evaluate.frame(other)), (one[middle, middle], other[middle, middle])]
    means = [(a.reshape(-1, 3).mean(axis=0), b.reshape(-1, 3).mean(axis=0)) for a, b in parts]
    return float(np.mean([np.linalg.norm(a - b) for a, b in means]))


def measured(count: int = SEEDS) -> ReferenceFigures:
    """Of that many drawings."""
    cases, pipeline = held_out_drawings(count), pipeline_with_adapter()
    drawings = [drawing for _, drawing in cases]
    distances, shapes = [], []
    for weight in (1.0, 0.0):
        pictures = painted(pipeline, drawings, weight)
        distances.append(float(np.mean([distance(*pair) for pair in zip(pictures, drawings, strict=True)])))
        told = [scene.things[0].shape for scene, _ in cases]
        shapes.append(float(np.mean([evaluate.best_shape(p) == s for p, s in zip(pictures, told, strict=True)])))
    return ReferenceFigures(distances[0], distances[1], shapes[0], shapes[1])


def main() -> None:
    """Writes `reference_figures.json`."""
    torch.set_num_threads(1)
    RECORD.write(measured())


if __name__ == "__main__":
    main()
