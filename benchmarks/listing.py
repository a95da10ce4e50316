"""Takes a LoRA folder and a place for its index, prints the seconds of a first look and of another: one JSON line.

A program of its own, since the server lists LoRAs in a process that has never met torch.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import Loras


def timed_scan(catalog: LoraCatalog) -> float:
    start = time.perf_counter()
    catalog.scan()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("index", type=Path)
    asked = parser.parse_args()
    catalog = LoraCatalog(Loras(directory=asked.folder), asked.index)
    print(json.dumps({"first": timed_scan(catalog), "again": timed_scan(catalog), "listed": len(catalog.entries())}))


if __name__ == "__main__":
    main()
