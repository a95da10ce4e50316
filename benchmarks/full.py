"""Measures LoRAs and single files on a checkpoint of SDXL's real size, random weights, on the CPU: `make bench-full`.

Takes several minutes and 8 GB of disk. At 256x256 and without guidance, where a step is short and a switch weighs most.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.adapter_files import kept_adapter
from benchmarks.engines import Bench, Look, Place, blend_of
from benchmarks.figures import Row, publish, taken
from benchmarks.loras import load_row, switch_row
from benchmarks.machine import describe_machine
from benchmarks.single_file import single_file_row
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.engine.models.checkpoint import Source
from tools.full_size_model import write_full_size_file, write_full_size_model

DTYPE = "bfloat16"
LOOK = Look(side=256, steps=30, guidance=1.0)
RANK = 64
LARGE_BYTES = 200_000_000


def measure(work: Path, pairs: int, loads: int) -> Iterator[Row]:
    file = work / "sdxl.safetensors"
    write_full_size_file(file, DTYPE)
    yield single_file_row(Source("sdxl", file), torch.bfloat16, loads)
    file.unlink()
    folder, data = work / "sdxl", work / "data"
    data.mkdir()
    write_full_size_model(folder, DTYPE)
    shapes = module_shapes(folder)
    with Bench(folder, data, Place(dtype=DTYPE), LOOK) as bench:
        blends = [blend_of([kept_adapter(data, shapes, RANK, seed)]) for seed in range(2)]
        name = f"full-size SDXL: switch to a warm LoRA of rank {RANK} on all linear layers, in denoising steps"
        yield switch_row(name, bench, blends, pairs)
        yield load_row("full-size SDXL", bench, data, folder, LARGE_BYTES, loads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one sample of each, to see that everything runs")
    quick = parser.parse_args().quick
    with TemporaryDirectory() as work:
        rows = taken(measure(Path(work), *((1, 1) if quick else (3, 5))))
    publish(rows, describe_machine(torch.get_num_threads()), "quick.json" if quick else "full.json")


if __name__ == "__main__":
    main()
