"""Measures how well the demo follows edges that it never saw, and keeps the figures beside the sha256 of the files."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.pictures.canny import canny

from . import edges, evaluate, scenes
from .figures import Record

SEEDS = 32
BATCH = 8
FIRST_SEED = 2028
NEAR = 3
"""Pixels that an edge may be off."""


@dataclass(frozen=True)
class EdgesFigures:
    """Means over held-out scenes: how well a painting's edges are those of a map, F1 within three pixels.

    Of `prompted` and `unprompted` paintings that follow the map, and of paintings of the same prompts and seeds that
    follow none.
    """

    prompted: float
    unprompted: float
    without: float


RECORD = Record("edges_figures.json", EdgesFigures, (edges.TARGET / "diffusion_pytorch_model.safetensors",))


def agreement(picture: scenes.Picture, meant: NDArray[np.bool_]) -> float:
    """The harmonic mean of how much of the picture's edges is meant and how much of what is meant is there."""
    found = np.asarray(canny(Image.fromarray(picture))) > 0
    right = (found & _widened(meant)).sum() / max(1, found.sum())
    there = (meant & _widened(found)).sum() / max(1, meant.sum())
    return float(2 * right * there / max(1e-9, right + there))


def _widened(bits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    image = Image.fromarray(bits.astype(np.uint8) * np.uint8(255))
    return np.asarray(image.filter(ImageFilter.MaxFilter(2 * NEAR + 1))) > 0


def held_out_drawings(count: int = SEEDS) -> list[edges.Drawing]:
    """Of scenes that no training sees."""
    rng = random.Random(FIRST_SEED)
    return [edges.drawing(rng, scenes.held_out_scene(rng, pair_share=0.25)) for _ in range(count)]


def pipelines() -> tuple[Any, Any]:
    """The demo's, and the same with the ControlNet, in float32."""
    plain = evaluate.load_pipeline(DEMO_MODEL)
    net = ControlNetModel.from_pretrained(edges.TARGET, local_files_only=True).float()
    controlled = StableDiffusionXLControlNetPipeline(
        **plain.components, controlnet=net, force_zeros_for_empty_prompt=plain.config.force_zeros_for_empty_prompt
    )
    controlled.set_progress_bar_config(disable=True)
    return plain, controlled


def painted(pipeline: Any, drawings: list[edges.Drawing], *, prompted: bool = True) -> Iterator[scenes.Picture]:
    """A picture for each drawing, which a ControlNet's pipeline follows."""
    for k in range(0, len(drawings), BATCH):
        part = drawings[k : k + BATCH]
        maps = [Image.fromarray(one.edges * 255) for one in part]
        images = pipeline(
            [scenes.plain_prompt(one.scene) if prompted else "" for one in part],
            num_inference_steps=evaluate.STEPS,
            guidance_scale=evaluate.GUIDANCE,
            width=256,
            height=256,
            generator=[torch.Generator().manual_seed(FIRST_SEED + k + n) for n in range(len(part))],
            **({"image": maps} if hasattr(pipeline, "controlnet") else {}),
        ).images
        yield from (np.asarray(image.convert("RGB")) for image in images)


def mean_agreement(pictures: Iterator[scenes.Picture], drawings: list[edges.Drawing]) -> float:
    """Of each picture with its drawing's map."""
    pairs = zip(pictures, drawings, strict=True)
    return float(np.mean([agreement(picture, one.edges[..., 0] > 0) for picture, one in pairs]))


def measured(count: int = SEEDS) -> EdgesFigures:
    """Of that many drawings."""
    drawings, (plain, controlled) = held_out_drawings(count), pipelines()
    return EdgesFigures(
        mean_agreement(painted(controlled, drawings), drawings),
        mean_agreement(painted(controlled, drawings, prompted=False), drawings),
        mean_agreement(painted(plain, drawings), drawings),
    )


def main() -> None:
    """Writes `edges_figures.json`."""
    torch.set_num_threads(1)
    RECORD.write(measured())


if __name__ == "__main__":
    main()
