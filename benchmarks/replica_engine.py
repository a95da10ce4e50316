"""An engine process whose time is slept, not computed: steps take what a prompt says, and LoRAs that are not warm cost.

`python -m benchmarks.replica_engine --fd N`; `--warm` LoRAs stay on its device, bringing one takes `--bring` seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sdxl_gateway.backends.fake_engine import MAX_LANES, READY, FakeCanvas, FakeEngine
from sdxl_gateway.core.events import AdapterLoaded, MemoryHeld, StepTaken
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.scheduling.costs import step_work
from sdxl_gateway.worker.serve import LoadedEngine, serve


class WarmEngine(FakeEngine):
    """Its pictures are RGB. `warm` of the LoRAs that were used last stay; another takes `bring_seconds`, one after the
    other and beside the steps of pictures that have theirs, as the product's engine brings them."""

    def __init__(self, measure: Measure, warm: int, bring_seconds: float) -> None:
        super().__init__(lambda said: None if isinstance(said, StepTaken) else measure(said))
        self._tell = measure
        self._most = warm
        self._bring_seconds = bring_seconds
        self._disk = ThreadPoolExecutor(1)
        self._warm: OrderedDict[str, None] = OrderedDict()
        self._pins: Counter[str] = Counter()

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Done once all of its LoRAs are warm."""
        self._pins.update(recipe.blend.digests)
        return self._disk.submit(self._bring, recipe.blend.digests)

    def release(self, recipe: Recipe) -> None:
        """Its LoRAs may go again, the one used longest ago first."""
        self._pins.subtract(recipe.blend.digests)

    def step(self, canvases: Sequence[FakeCanvas]) -> None:
        """As the fake engine's; told with the work of these recipes, which waits are predicted by."""
        begun = time.perf_counter()
        super().step(canvases)
        work = sum(step_work(canvas.recipe, canvas.steps_done) for canvas in canvases)
        self._tell(StepTaken(time.perf_counter() - begun, len(canvases), work))

    def picture_of(self, canvas: FakeCanvas) -> Picture:
        """Black."""
        width, height = canvas.recipe.paint_width, canvas.recipe.paint_height
        return Picture(width, height, "RGB", bytes(3 * width * height))

    def _bring(self, digests: Sequence[str]) -> None:
        for digest in digests:
            if digest not in self._warm:
                self.sleep(self._bring_seconds)
                self._tell(AdapterLoaded(digest, "disk", self._bring_seconds, 1))
            self._warm[digest] = None
            self._warm.move_to_end(digest)
        for digest in [one for one in self._warm if not self._pins[one]][: max(len(self._warm) - self._most, 0)]:
            del self._warm[digest]
        self._tell(MemoryHeld(warm={"vram": tuple(self._warm)}))

    def _switch_blend(self, blend: Hashable) -> None:
        self.blend = blend


def main() -> int:
    """The process's exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--warm", type=int, default=6)
    parser.add_argument("--bring", type=float, default=0.3)
    asked = parser.parse_args()

    def opened(_: dict[str, Any], measure: Measure) -> LoadedEngine[FakeCanvas]:
        return LoadedEngine(WarmEngine(measure, asked.warm, asked.bring), READY, MAX_LANES)

    return serve(asked.fd, opened)


if __name__ == "__main__":
    sys.exit(main())
