"""Paints while somebody else takes a GPU's memory away: `python -m benchmarks.full_card [FOLDER]`.

FOLDER is a checkpoint's; without one it is the demo's, whose pictures take little. Without a GPU nothing is taken away.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.adapter_files import kept_adapter
from benchmarks.engines import Bench, Look, Place, blend_of
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.core.events import AdapterEvicted

MIB = 2**20
WARM, RANK = 8, 32
LEFT_MIB = (2048, 1024, 512, 256, 128)
"""What is left of the device's memory, from one picture to the next."""


@contextmanager
def taken_but(left_bytes: int, place: Place) -> Iterator[None]:
    """Somebody else has the device's memory, but for so much."""
    if place.device == "cpu":
        yield
        return
    torch.cuda.empty_cache()
    ballast: list[Tensor] = []
    surplus = torch.cuda.mem_get_info()[0] - left_bytes
    if surplus > 0:
        ballast.append(torch.empty(surplus, dtype=torch.uint8, device=place.device))
    yield
    ballast.clear()
    torch.cuda.empty_cache()


def measure(folder: Path, data: Path, place: Place, look: Look) -> Iterator[str]:
    """A line for each amount of memory left: a picture with a LoRA, beside others that are warm and not needed."""
    shapes = module_shapes(folder)
    digests = [kept_adapter(data, shapes, RANK, seed) for seed in range(WARM)]
    with Bench(folder, data, place, look) as bench:
        for left in LEFT_MIB:
            for digest in digests:
                bench.release(bench.begun(blend_of([digest])).recipe)
            bench.told(AdapterEvicted)
            with taken_but(left * MIB, place):
                yield f"{left:>5} MiB left: {_painted(bench, digests[0])}"


def _painted(bench: Bench, digest: str) -> str:
    try:
        seconds = bench.paint(blend_of([digest]))
    except DoesNotFit as error:
        return f"refused: {error}"
    return f"painted in {seconds:.2f} s, {len(bench.told(AdapterEvicted))} LoRAs left a tier for it"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEMO_MODEL)
    folder = parser.parse_args().folder
    cuda = torch.cuda.is_available()
    side = 1024 if folder != DEMO_MODEL else 64
    place = Place("cuda", "float16") if cuda else Place("cpu", "float32", 1)
    with TemporaryDirectory() as data:
        for line in measure(folder, Path(data), place, Look(side, 4, 5.0)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
