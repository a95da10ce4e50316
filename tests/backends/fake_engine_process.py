"""An engine process with the fake engine: `python -m tests.backends.fake_engine_process [--refuse-to-load] --fd N`."""

from __future__ import annotations

import sys
from typing import Any

from sdxl_gateway.backends.fake_engine import FakeCanvas, open_fake_engine
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.worker.serve import LoadedEngine, serve


def open_fake(settings: dict[str, Any], measure: Measure) -> LoadedEngine[FakeCanvas]:
    if "--refuse-to-load" in sys.argv:
        raise FileNotFoundError("no such checkpoint")
    return open_fake_engine(measure)


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[sys.argv.index("--fd") + 1]), open_fake))
