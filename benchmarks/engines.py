"""Takes a checkpoint's folder and a device, gives an engine in this process and what its work costs in seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import torch

from sdxl_gateway.catalog.model_files import fingerprint
from sdxl_gateway.config import Checkpoint as CheckpointSection
from sdxl_gateway.config import Control as ControlSection
from sdxl_gateway.config import Engine, Memory, Settings
from sdxl_gateway.core.events import Measurement
from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.recipe import NO_BLEND, Blend, BlendPart, Control, Recipe, Task
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.engine.models.checkpoint import Checkpoint

M = TypeVar("M", bound=Measurement)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine paints, the sizes it is compiled for, and whether its calls are recorded.

    `threads` of 0 leaves torch's own number.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    compiled_sizes: tuple[str, ...] | Literal["auto"] = ()
    cuda_graphs: bool = True
    max_lanes: int = 4


@dataclass(frozen=True, slots=True)
class Look:
    """What every picture of a bench has in common; `side` in pixels."""

    side: int
    steps: int
    guidance: float
    sampler: str = "euler"


@dataclass(frozen=True, slots=True)
class Start:
    """`to_first_step` from a request in hand to the end of its first step, and the step after it."""

    to_first_step: float
    next_step: float


class Bench:
    """One engine on one checkpoint, and what it told about itself. Seconds end when the device is done."""

    def __init__(
        self,
        folder: Path,
        data: Path,
        place: Place,
        look: Look,
        controls: Mapping[str, ControlSection] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._told: list[Measurement] = []
        self._look = look
        self._numbers = count()
        settings = Settings(
            data_directory=data,
            checkpoints={"bench": CheckpointSection(path=str(folder))},
            engine=Engine.model_validate(asdict(place)),
            controls=dict(controls or {}),
            memory=memory or Memory(),
        )
        self._digest = fingerprint(folder)
        self._engine: DiffusionEngine = open_engine(settings.engine_process(), self._told.append)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._engine.close()

    @property
    def checkpoint(self) -> Checkpoint:
        """As the engine paints with it."""
        return self._engine._pool.checkpoint("bench").checkpoint

    def paint_with(self, checkpoint: Checkpoint) -> None:
        """In the place of the one it has; of the same weights."""
        pool = self._engine._pool
        pool.keep("checkpoint", "bench", replace(pool.checkpoint("bench"), checkpoint=checkpoint), 0)

    def watch(self) -> Stopwatch:
        return Stopwatch(torch.device(self._engine.device))

    def take_steps(self, steps: int) -> None:
        """So many in each picture from now on."""
        self._look = replace(self._look, steps=steps)

    def take_sampler(self, sampler: str) -> None:
        """Of that name in each picture from now on."""
        self._look = replace(self._look, sampler=sampler)

    def recipe(self, blend: Blend = NO_BLEND) -> Recipe:
        """Each time with a prompt nobody had before, so that no text is encoded already."""
        look = self._look
        return Recipe(
            task=Task.TEXT_TO_IMAGE,
            checkpoint="bench",
            checkpoint_digest=self._digest,
            blend=blend,
            prompt=f"lighthouse number {next(self._numbers)} at dusk",
            negative_prompt="",
            width=look.side,
            height=look.side,
            paint_width=look.side,
            paint_height=look.side,
            steps=look.steps,
            guidance_scale=look.guidance,
            sampler=look.sampler,
            seed=1,
        )

    def begun(self, blend: Blend = NO_BLEND, controls: tuple[Control, ...] = (), inputs: Inputs = NO_INPUTS) -> Canvas:
        """A canvas whose models and adapters are near; its recipe wants a `release`."""
        recipe = replace(self.recipe(blend), controls=controls)
        self._engine.prefetch(recipe).result()
        return self._engine.begin(recipe, 0, inputs)

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Asks for the recipe's adapters off this thread; they stay pinned until `release`."""
        return self._engine.prefetch(recipe)

    def release(self, recipe: Recipe) -> None:
        self._engine.release(recipe)

    @property
    def engine(self) -> DiffusionEngine:
        """For what is measured of it alone; its recipes want their `release` all the same."""
        return self._engine

    def step(self, *canvases: Canvas) -> float:
        """Seconds of one step of them all together."""
        watch = self.watch()
        self._engine.step(canvases)
        return watch.seconds()

    def steps(self, canvas: Canvas) -> list[float]:
        """The seconds of each step that is left."""
        return [self.step(canvas) for _ in range(canvas.steps_done, canvas.steps_total)]

    def start(self, blend: Blend) -> Start:
        """A picture's first two steps, the putting on of its blend included."""
        watch = self.watch()
        canvas = self.begun(blend)
        self._engine.step([canvas])
        seconds = watch.seconds()
        following = self.step(canvas)
        self.release(canvas.recipe)
        return Start(seconds, following)

    def paint(self, blend: Blend = NO_BLEND, controls: tuple[Control, ...] = (), inputs: Inputs = NO_INPUTS) -> float:
        """Seconds of a whole picture, as a server paints it: nobody waits between its steps."""
        watch = self.watch()
        canvas = self.begun(blend, controls, inputs)
        self._finished([canvas])
        seconds = watch.seconds()
        self.release(canvas.recipe)
        return seconds

    def paint_together(self, count: int) -> float:
        """Seconds of so many pictures that share their steps."""
        watch = self.watch()
        canvases = [self.begun() for _ in range(count)]
        self._finished(canvases)
        seconds = watch.seconds()
        for canvas in canvases:
            self.release(canvas.recipe)
        return seconds

    def _finished(self, canvases: Sequence[Canvas]) -> None:
        while canvases[0].steps_done < canvases[0].steps_total:
            self._engine.step(canvases)
        for coming in [self._engine.finish(canvas) for canvas in canvases]:
            coming.result()

    def all_told(self) -> list[Measurement]:
        """What was measured since this, or `told`, was last asked."""
        found = list(self._told)
        self._told.clear()
        return found

    def told(self, kind: type[M]) -> list[M]:
        """What was measured since this was last asked, of one kind; the rest is forgotten."""
        found: list[M] = [measurement for measurement in self._told if isinstance(measurement, kind)]
        self._told.clear()
        return found


class Stopwatch:
    """Counts from now until the device has done everything asked of it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = self._now()

    def seconds(self) -> float:
        return self._now() - self._start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def blend_of(digests: Sequence[str], weight: float = 0.8, text_weight: float = 0.0) -> Blend:
    return Blend.of([BlendPart(digest, weight, text_weight) for digest in digests])
