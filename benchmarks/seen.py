"""Takes a number of LoRAs, prints what a request of a key that sees only some of them waits for its view of them.

Entries are made up: nothing of them but their names is looked at here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, Seen
from sdxl_gateway.catalog.lora_folder.sidecar import NOTHING_KNOWN
from sdxl_gateway.config import Loras

GLOBS = ("team-a/*", "shared-?0", "ink")


def catalog_of(count: int) -> LoraCatalog:
    """A tenth of its names is for the key."""
    catalog = LoraCatalog(Loras(), Path(tempfile.gettempdir()))
    names = [f"team-{'abcdefghij'[place % 10]}/style-{place:05}" for place in range(count)]
    entries = (LoraEntry(name, Path(name), (), 1, 0, "F16", None, NOTHING_KNOWN) for name in names)
    catalog._publish({entry.name: Seen((), entry, ()) for entry in entries}, {})
    return catalog


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loras", type=int, default=10_000)
    catalog = catalog_of(parser.parse_args().loras)
    for turn in ("first", "second", "third"):
        start = time.perf_counter()
        seen = catalog.only(GLOBS).find("team-a/style-00010")
        print(f"{turn} request: {(time.perf_counter() - start) * 1000:.3f} ms to find '{seen.name}'")


if __name__ == "__main__":
    main()
