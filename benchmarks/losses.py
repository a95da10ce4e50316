"""Measures what cheaper ways to paint spare and lose, on the demo model: `python -m benchmarks.losses`.

A way's pictures are held against those of all steps and all guidance: PSNR, and the shares of held-out prompts whose
colours and shapes come out right. Rows of the UNet are counted, so that the figures are the same on any machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.engines import Bench, Look, Place
from benchmarks.figures import RESULTS
from benchmarks.machine import describe_machine
from benchmarks.painting import SIDE, STEPS
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.recipe import Recipe
from tools.demo_model import evaluate, scenes

GUIDANCE = 2.5
"""Enough for the demo, which was taught to need none, to paint another picture by it."""
WHOLE = "all steps guided"
WAYS: Mapping[str, Mapping[str, Any]] = {
    WHOLE: {},
    **{f"guidance_end {end}": {"guidance_end": end} for end in (0.6, 0.4)},
    **{f"{steps} steps": {"steps": steps} for steps in (12, 8)},
    "no guidance": {"guidance_scale": 1.0},
}
THREADS = 1


@dataclass(frozen=True, slots=True)
class Way:
    """`rows` of the UNet for a picture; `psnr` in dB against the whole pictures, the mean; shares of the prompts."""

    name: str
    rows: float
    psnr: float
    colours: float
    shapes: float


def measured(bench: Bench, wanted: Sequence[evaluate.Case]) -> Iterator[Way]:
    """Each way's, the whole one first."""
    whole: list[scenes.Picture] = []
    for name, changes in WAYS.items():
        with _rows_counted(bench.checkpoint.unet) as rows:
            pictures = [_painted(bench, _recipe(bench, case, changes)) for case in wanted]
        whole = whole or pictures
        psnr = float(np.mean([_psnr(*pair) for pair in zip(pictures, whole, strict=True)]))
        figures = evaluate.measure(pictures, wanted)
        yield Way(name, sum(rows) / len(wanted), psnr, figures.colours, figures.shapes)


def _recipe(bench: Bench, case: evaluate.Case, changes: Mapping[str, Any]) -> Recipe:
    return replace(bench.recipe(), prompt=case.prompt, seed=case.seed, **changes)


def _painted(bench: Bench, recipe: Recipe) -> scenes.Picture:
    engine = bench.engine
    canvas = engine.begin(recipe, 0, NO_INPUTS)
    while canvas.steps_done < canvas.steps_total:
        engine.step([canvas])
    picture = engine.finish(canvas).result()
    return np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, 3)


@contextmanager
def _rows_counted(module: torch.nn.Module) -> Iterator[list[int]]:
    rows: list[int] = []
    hook = module.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    yield rows
    hook.remove()


def _psnr(picture: scenes.Picture, whole: scenes.Picture) -> float:
    """Of equal pictures 99 dB."""
    error = float(np.mean((picture.astype(np.float64) - whole) ** 2))
    return min(10 * np.log10(255**2 / error), 99.0) if error else 99.0


def published(ways: Sequence[Way], prompts: int, folder: Path = RESULTS) -> None:
    """As JSON, with the machine they were counted on."""
    told = {
        "machine": describe_machine(THREADS),
        "guidance_scale": GUIDANCE,
        "prompts": prompts,
        "ways": [asdict(way) for way in ways],
    }
    (folder / "losses.json").write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def main() -> None:
    """Prints each way as soon as it is known; writes `losses.json` beside the other results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=30, help="how many of the 60 held-out ones")
    wanted = evaluate.cases()
    wanted = wanted[:: max(len(wanted) // parser.parse_args().prompts, 1)]
    torch.set_num_threads(THREADS)
    ways = []
    with TemporaryDirectory() as data:
        look = Look(SIDE, STEPS, GUIDANCE)
        with Bench(DEMO_MODEL, Path(data), Place(threads=THREADS), look) as bench:
            for way in measured(bench, wanted):
                shares = f"colours {way.colours:.0%}, shapes {way.shapes:.0%}"
                print(f"{way.name}: {way.rows:g} rows, {way.psnr:.1f} dB, {shares}", flush=True)
                ways.append(way)
    published(ways, len(wanted))


if __name__ == "__main__":
    main()
