"""An engine process with the fake engine:
`python -m tests.backends.fake_engine_process [--refuse-to-load] [--owls N] --fd N`."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from typing import Any

from sdxl_gateway.backends.fake_engine import MAX_LANES, READY, FakeCanvas, FakeEngine, open_fake_engine
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.worker.serve import LoadedEngine, serve


class FewOwls(FakeEngine):
    """A fake engine that finishes so many pictures of owls; of all others each is on its way for ever."""

    def __init__(self, measure: Measure, owls: int) -> None:
        super().__init__(measure)
        self._owls = owls

    def finish(self, canvas: FakeCanvas) -> Future[Picture]:
        if "owl" in canvas.recipe.prompt.split():
            self._owls -= 1
            if self._owls < 0:
                return Future()
        return super().finish(canvas)


def open_fake(settings: dict[str, Any], measure: Measure) -> LoadedEngine[FakeCanvas]:
    if "--refuse-to-load" in sys.argv:
        raise FileNotFoundError("no such checkpoint")
    if "--owls" in sys.argv:
        return LoadedEngine(FewOwls(measure, _number("--owls")), READY, MAX_LANES)
    return open_fake_engine(measure)


def _number(flag: str) -> int:
    return int(sys.argv[sys.argv.index(flag) + 1])


if __name__ == "__main__":
    sys.exit(serve(_number("--fd"), open_fake))
