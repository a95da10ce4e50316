"""Takes a LoRA folder and a place for its index, prints the seconds of two starts that look at it: one JSON line.

A program of its own, since the server lists LoRAs in a process that has never met torch.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from sdxl_gateway.catalog.checkpoints import open_checkpoints
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import DEMO_MODEL, Checkpoint, Loras


def timed_start(folder: Path, index: Path) -> tuple[float, int]:
    """Seconds of a server's first look at the folder, each file held against the demo checkpoint; how many fit."""
    checkpoints = open_checkpoints({"demo": Checkpoint(path="demo")}, DEMO_MODEL).values()
    start = time.perf_counter()
    catalog = LoraCatalog(Loras(directory=folder), index, checkpoints=checkpoints)
    catalog.scan()
    return time.perf_counter() - start, len(catalog.entries())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("index", type=Path)
    asked = parser.parse_args()
    (first, listed), (again, _) = (timed_start(asked.folder, asked.index) for _ in range(2))
    print(json.dumps({"first": first, "again": again, "listed": listed}))


if __name__ == "__main__":
    main()
