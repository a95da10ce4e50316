"""A picture enlarged tile by tile against the same net run by hand over the whole of it, side by side."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file

from benchmarks.figures import Row, publish, ratio_row, taken
from benchmarks.machine import describe_machine
from benchmarks.painting import PROMPT
from sdxl_gateway.catalog.upscalers import UpscalerEntry, open_upscaler
from sdxl_gateway.config import Checkpoint, Engine, Settings, Upscaler
from sdxl_gateway.core.events import Measurement, StageTimed
from sdxl_gateway.core.picture import NO_INPUTS, Picture
from sdxl_gateway.core.recipe import NO_BLEND, Recipe, Task
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.latents import zero_to_one
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.engine.models.upscalers import RRDBNet, load_upscaler

THREADS = 1
PROMISE = 1.5
"""What the net sees around each tile, of 24 pixels, is 1.4 times the work at 1024 pixels a side."""


@dataclass(frozen=True)
class Enlarged:
    """A picture of `side` pixels, enlarged four times by a net of so many features, growth and blocks."""

    device: str
    dtype: Literal["float32", "float16"]
    side: int
    net: tuple[int, int, int]


ON_CPU = Enlarged("cpu", "float32", 384, (16, 8, 2))
ON_GPU = Enlarged("cuda", "float16", 1024, (64, 32, 23))
"""Real-ESRGAN's x4plus."""


def measure(work: Path, look: Enlarged, pairs: int) -> Iterator[Row]:
    """One row; both sides have enlarged once before."""
    path = work / "net.safetensors"
    save_file(RRDBNet(*look.net).state_dict(), path)
    section, told = Upscaler(path=path), list[Measurement]()
    entry = open_upscaler("net", section)
    settings = Settings(
        data_directory=work,
        checkpoints={"demo": Checkpoint(path="demo")},
        upscalers={"net": section},
        engine=Engine(device=look.device, dtype=look.dtype, threads=THREADS),
    )
    engine = open_engine(settings.engine_process(), told.append)
    plain = _painted(engine, _recipe(look.side))
    seconds = [(_in_tiles(engine, look, entry, told), _whole(look, entry, plain)) for _ in range(pairs + 1)][1:]
    engine.close()
    yield ratio_row("enlarged in tiles / the net over the whole", PROMISE, *zip(*seconds, strict=True))


def _in_tiles(engine: DiffusionEngine, look: Enlarged, entry: UpscalerEntry, told: list[Measurement]) -> float:
    """Seconds of all tiles of a picture, the others' steps between them left out."""
    told.clear()
    _painted(engine, _recipe(look.side, entry))
    return sum(one.seconds for one in told if isinstance(one, StageTimed) and one.stage == "upscale")


@torch.inference_mode()
def _whole(look: Enlarged, entry: UpscalerEntry, picture: Picture) -> float:
    device, dtype = torch.device(look.device), getattr(torch, look.dtype)
    net = load_upscaler(entry, device, dtype).net
    start = time.perf_counter()
    found = net(zero_to_one(picture).to(device, dtype)).float()
    found.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return time.perf_counter() - start


def _painted(engine: DiffusionEngine, recipe: Recipe) -> Picture:
    canvas = engine.begin(recipe, 0, NO_INPUTS)
    while canvas.steps_done < canvas.steps_total:
        engine.step([canvas])
    return engine.finish(canvas).result()


def _recipe(side: int, entry: UpscalerEntry | None = None) -> Recipe:
    return Recipe(
        task=Task.TEXT_TO_IMAGE,
        checkpoint="demo",
        checkpoint_digest="demo",
        blend=NO_BLEND,
        prompt=PROMPT,
        negative_prompt="",
        width=side,
        height=side,
        paint_width=side,
        paint_height=side,
        steps=1,
        guidance_scale=1.0,
        sampler="euler",
        seed=1,
        upscaler="" if entry is None else entry.name,
        upscaler_digest="" if entry is None else entry.digest,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6, help="how many pictures of each side")
    pairs = parser.parse_args().pairs
    look = ON_GPU if torch.cuda.is_available() else ON_CPU
    with tempfile.TemporaryDirectory() as work:
        publish(taken(measure(Path(work), look, pairs)), describe_machine(THREADS), f"upscale-{look.device}.json")


if __name__ == "__main__":
    main()
