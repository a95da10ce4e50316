"""Measures pictures that follow one and two ControlNets, against diffusers' own pipeline: `make bench-controls`.

Both sides paint with the same weights on the demo model, in turn, in one process and on one thread. The ControlNets
are made of its UNet: what they say is of no account here, how long they take is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
from PIL import Image

from benchmarks.engines import Bench, Look, Place
from benchmarks.figures import Row, publish, ratio_row, taken
from benchmarks.machine import describe_machine
from benchmarks.painting import SIDE, STEPS, default_guidance
from benchmarks.run import QUICK, THREADS, WHOLE
from sdxl_gateway.catalog.controls import open_control
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.config import Control as Section
from sdxl_gateway.core.picture import Inputs
from sdxl_gateway.core.recipe import Control, control_role
from sdxl_gateway.pictures.pixels import from_image

WEIGHT = 0.8
PROMISE = 1.05


class ControlPipeline:
    """diffusers' StableDiffusionXLControlNetPipeline with nothing around it."""

    def __init__(self, folders: list[Path], look: Look) -> None:
        for_one = diffusers.ControlNetModel.from_pretrained
        models = [for_one(folder, local_files_only=True) for folder in folders]
        self._count, self._look = len(models), look
        self._pipeline: Any = diffusers.StableDiffusionXLControlNetPipeline.from_pretrained(
            DEMO_MODEL,
            controlnet=models if len(models) > 1 else models[0],
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
        )
        self._pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config(self._pipeline.scheduler.config)
        self._pipeline.set_progress_bar_config(disable=True)

    def timed(self, shown: Image.Image) -> float:
        """Seconds of a picture."""
        several = self._count > 1
        start = time.perf_counter()
        self._pipeline(
            prompt="lighthouse at dusk",
            image=[shown] * self._count if several else shown,
            controlnet_conditioning_scale=[WEIGHT] * self._count if several else WEIGHT,
            num_inference_steps=self._look.steps,
            guidance_scale=self._look.guidance,
            width=self._look.side,
            height=self._look.side,
        )
        return time.perf_counter() - start


def control_rows(work: Path, look: Look, pairs: int) -> Iterator[Row]:
    """One control and two."""
    folders = [_written(work / str(number)) for number in range(2)]
    sections = {folder.name: Section(path=str(folder)) for folder in folders}
    shown = Image.effect_noise((look.side, look.side), 90).convert("RGB")
    (work / "data").mkdir()
    with Bench(DEMO_MODEL, work / "data", Place(threads=THREADS), look, sections) as bench:
        digests = [open_control(name, section).digest for name, section in sections.items()]
        for count in (1, 2):
            theirs = ControlPipeline(folders[:count], look)
            controls = tuple(Control(digest, digest, WEIGHT) for digest in digests[:count])
            inputs = Inputs({control_role(i): from_image(shown) for i in range(count)})
            bench.paint(controls=controls, inputs=inputs)
            theirs.timed(shown)
            timed = [(bench.paint(controls=controls, inputs=inputs), theirs.timed(shown)) for _ in range(pairs)]
            name = f"a picture of {look.steps} steps with {count} control{'s' * (count > 1)}, ours / diffusers"
            yield ratio_row(name, PROMISE, *map(list, zip(*timed, strict=True)))


def _written(folder: Path) -> Path:
    unet = diffusers.UNet2DConditionModel.from_pretrained(DEMO_MODEL, subfolder="unet", local_files_only=True)
    torch.manual_seed(int(folder.name))
    diffusers.ControlNetModel.from_unet(unet.float(), load_weights_from_unet=False).save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few samples of each, to see that everything runs")
    quick = parser.parse_args().quick
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    look = Look(SIDE, STEPS, default_guidance())
    with TemporaryDirectory() as work:
        rows = taken(control_rows(Path(work), look, (QUICK if quick else WHOLE).pairs))
    publish(rows, describe_machine(THREADS), "quick.json" if quick else "controls.json")


if __name__ == "__main__":
    main()
