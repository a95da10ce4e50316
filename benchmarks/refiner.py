"""A picture handed over to a refiner half-way against diffusers' two pipelines on the same weights, side by side."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch

from benchmarks.figures import Row, publish, ratio_row, taken
from benchmarks.machine import describe_machine
from benchmarks.painting import PROMPT, SIDE, STEPS
from sdxl_gateway.config import DEMO_MODEL, Checkpoint, Engine, Settings
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.recipe import NO_BLEND, Phase, Recipe, Task
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.load import open_engine
from tools.demo_refiner import write_demo_refiner

THREADS = 1
PROMISE = 1.05
SHARE = 0.8
GUIDANCE = 5.0


class TwoPipelines:
    """diffusers with nothing around it; the refiner takes over the latents."""

    def __init__(self, refiner: Path) -> None:
        self._base, self._refiner = (
            diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
            for folder in (DEMO_MODEL, refiner)
        )
        for pipeline in (self._base, self._refiner):
            pipeline.set_progress_bar_config(disable=True)

    def timed(self, seed: int) -> float:
        """Seconds to the picture."""
        start, told = time.perf_counter(), self._told(seed)
        latents = self._base(**told, width=SIDE, height=SIDE, denoising_end=SHARE, output_type="latent").images
        self._refiner(**told, image=latents, denoising_start=SHARE)
        return time.perf_counter() - start

    def _told(self, seed: int) -> Mapping[str, Any]:
        generator = torch.Generator("cpu").manual_seed(seed)
        steps = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
        return {"prompt": f"{PROMPT} {seed}", "generator": generator} | steps


def painted(engine: DiffusionEngine, seed: int) -> float:
    """Seconds to the picture; the prompt is one that nobody had before."""
    start = time.perf_counter()
    canvas = engine.begin(_recipe(seed), 0, NO_INPUTS)
    while canvas.steps_done < canvas.steps_total:
        engine.step([canvas])
    engine.finish(canvas).result()
    return time.perf_counter() - start


def _recipe(seed: int) -> Recipe:
    return Recipe(
        task=Task.TEXT_TO_IMAGE,
        checkpoint="demo",
        checkpoint_digest="demo",
        blend=NO_BLEND,
        prompt=f"{PROMPT} {seed}",
        negative_prompt="",
        width=SIDE,
        height=SIDE,
        paint_width=SIDE,
        paint_height=SIDE,
        steps=STEPS,
        guidance_scale=GUIDANCE,
        sampler="euler",
        seed=seed,
        later_phases=(Phase("refiner", "refiner", NO_BLEND, from_step=1, from_share=SHARE),),
    )


def measure(work: Path, pairs: int) -> Iterator[Row]:
    """One row; both sides have painted once before."""
    folder = write_demo_refiner(work / "refiner")
    checkpoints = {"demo": Checkpoint(path="demo"), "refiner": Checkpoint(path=str(folder))}
    section = Engine(device="cpu", dtype="float32", threads=THREADS)
    settings = Settings(data_directory=work, checkpoints=checkpoints, engine=section)
    engine, two = open_engine(settings.engine_process(), lambda _: None), TwoPipelines(folder)
    seconds = [(painted(engine, seed), two.timed(seed)) for seed in range(pairs + 1)][1:]
    engine.close()
    yield ratio_row("handed over to a refiner / two diffusers pipelines", PROMISE, *zip(*seconds, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12, help="how many pictures of each side")
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as work:
        publish(taken(measure(Path(work), pairs)), describe_machine(THREADS), "refiner.json")


if __name__ == "__main__":
    main()
