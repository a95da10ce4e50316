"""An engine that paints grey pictures instantly, and misbehaves if a prompt says so; for tests and for trying a server.

With it a client of the API can be tested in milliseconds, without weights and without torch:
`LocalBackend(open_fake_engine)` is a whole backend around it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.events import BlendSwitched, StepTaken
from sdxl_gateway.core.futures import done
from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.ports import DeviceLost, Measure
from sdxl_gateway.core.recipe import Phase, Recipe
from sdxl_gateway.ipc.messages import Ready
from sdxl_gateway.scheduling.batch_key import BatchKey
from sdxl_gateway.worker.serve import LoadedEngine

READY = Ready("fake", "float32", ("demo",))
MAX_LANES = 4
EXIT_STATUS = 17
HANG_SECONDS = 60.0


@dataclass
class FakeCanvas:
    """An image that only counts its steps; "long" in the prompt makes it warn."""

    recipe: Recipe
    index: int
    steps_done: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """One if the prompt has the word "long"."""
        return ("cut short",) if "long" in self.recipe.prompt else ()

    @property
    def phase(self) -> Phase:
        """The phase of its next step."""
        return self.recipe.phase_at(self.steps_done)

    @property
    def batch_key(self) -> Hashable:
        """The key of its next step."""
        return BatchKey.of(self.recipe, self.steps_done)

    @property
    def steps_total(self) -> int:
        """The recipe's steps."""
        return self.recipe.denoise_steps


class FakeEngine:
    """A core Engine. Words of a prompt decide what it does wrong, and how long a step takes.

    `die-in-PHASE` ends the process, `hang-in-PHASE` stays away for a minute, `lose-in-PHASE` loses the device and
    `raise-in-PHASE` raises, PHASE being prefetch, release, begin, step, preview or finish; `refuse` refuses the
    adapters, `never-near` never has them; `step-seconds=X` makes each step take that long.

    `batches` holds the prompts that shared each step so far, `pinned` the jobs whose adapters are held now.
    """

    def __init__(self, measure: Measure = lambda _: None, sleep: Callable[[float], None] = time.sleep) -> None:
        self.measure = measure
        self.sleep = sleep
        self.blend: Hashable = ()
        self.pinned = 0
        self.batches: list[list[str]] = []

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Done at once, unless the prompt says otherwise."""
        self._misbehave(recipe, "prefetch")
        self.pinned += 1
        future: Future[None] = Future()
        if "refuse" in recipe.prompt:
            future.set_exception(AdapterRefused("broken file"))
        elif "never-near" not in recipe.prompt:
            future.set_result(None)
        return future

    def release(self, recipe: Recipe) -> None:
        """Unpin the adapters of one job."""
        self.pinned -= 1
        self._misbehave(recipe, "release")

    def begin(self, recipe: Recipe, index: int, inputs: Inputs) -> FakeCanvas:
        """A canvas without steps; inputs are ignored."""
        self._misbehave(recipe, "begin")
        return FakeCanvas(recipe, index)

    def step(self, canvases: Sequence[FakeCanvas]) -> None:
        """Count a step, which takes as long as the slowest prompt says. Raises ValueError for an invalid step."""
        if len({canvas.batch_key for canvas in canvases}) != 1:
            raise ValueError("canvases of several batch keys")
        if any(canvas.steps_done >= canvas.steps_total for canvas in canvases):
            raise ValueError("a canvas that has taken all its steps")
        self.batches.append([canvas.recipe.prompt for canvas in canvases])
        self._switch_blend(canvases[0].phase.blend.unet_key)
        for canvas in canvases:
            self._misbehave(canvas.recipe, "step")
            canvas.steps_done += 1
        seconds = max(_number(canvas.recipe.prompt, "step-seconds") for canvas in canvases)
        self.sleep(seconds)
        self.measure(StepTaken(seconds, len(canvases), float(len(canvases))))

    def _switch_blend(self, blend: Hashable) -> None:
        if self.blend != blend:
            self.blend = blend
            self.measure(BlendSwitched(0.0, 1))

    def preview(self, canvas: FakeCanvas) -> Future[Picture]:
        """The picture as it would be now."""
        self._misbehave(canvas.recipe, "preview")
        return done(self.picture_of(canvas))

    def finish(self, canvas: FakeCanvas) -> Future[Picture]:
        """The picture. Raises ValueError for a canvas with steps left."""
        if canvas.steps_done != canvas.steps_total:
            raise ValueError("a canvas with steps left")
        self._misbehave(canvas.recipe, "finish")
        return done(self.picture_of(canvas))

    def picture_of(self, canvas: FakeCanvas) -> Picture:
        """A grey picture at paint size; its level is the number of steps done."""
        width, height = canvas.recipe.paint_width, canvas.recipe.paint_height
        return Picture(width, height, "L", bytes([canvas.steps_done]) * (width * height))

    def _misbehave(self, recipe: Recipe, phase: str) -> None:
        words = recipe.prompt.split()
        if f"die-in-{phase}" in words:
            os._exit(EXIT_STATUS)
        if f"hang-in-{phase}" in words:
            self.sleep(HANG_SECONDS)
        if f"lose-in-{phase}" in words:
            raise DeviceLost("bus error")
        if f"raise-in-{phase}" in words:
            raise RuntimeError("secret path /etc")


def _number(prompt: str, name: str) -> float:
    given = [word.partition("=")[2] for word in prompt.split() if word.startswith(name + "=")]
    return float(given[0]) if given else 0.0


def open_fake_engine(measure: Measure) -> LoadedEngine[FakeCanvas]:
    """A fake engine that is ready, of four lanes."""
    return LoadedEngine(FakeEngine(measure), READY, MAX_LANES)
