"""An engine that paints grey in no time and can be told, through a prompt, to misbehave; and jobs to give it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count

from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.events import BlendSwitched, Measurement, StepTaken
from sdxl_gateway.core.job import Job, Priority
from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.ports import DeviceLost
from sdxl_gateway.core.recipe import Blend, BlendPart, Phase, Recipe, Task
from sdxl_gateway.ipc.messages import Ready
from sdxl_gateway.scheduling.batch_key import BatchKey
from sdxl_gateway.worker.serve import LoadedEngine

READY = Ready("fake", "float32", ("demo",))
_numbers = count()


def recipe(prompt: str = "", *, blend: str = "", steps: int = 3, count: int = 1, guided: bool = True) -> Recipe:
    parts = [BlendPart(blend, 1.0, 1.0)] if blend else []
    return Recipe(
        task=Task.TEXT_TO_IMAGE,
        checkpoint="demo",
        checkpoint_digest="0",
        blend=Blend.of(parts),
        prompt=prompt,
        negative_prompt="",
        width=8,
        height=8,
        paint_width=8,
        paint_height=8,
        steps=steps,
        guidance_scale=5.0 if guided else 1.0,
        sampler="euler",
        seed=7,
        count=count,
    )


def job(
    prompt: str = "",
    *,
    blend: str = "",
    steps: int = 3,
    count: int = 1,
    partial_images: int = 0,
    tenant: str = "a",
    priority: Priority = Priority.NORMAL,
    deadline: float = float("inf"),
    arrived: float | None = None,
) -> Job:
    return Job(
        id=f"job-{next(_numbers)}",
        recipe=recipe(prompt, blend=blend, steps=steps, count=count),
        partial_images=partial_images,
        tenant=tenant,
        priority=priority,
        arrived=time.monotonic() if arrived is None else arrived,
        deadline=deadline,
    )


@dataclass
class FakeCanvas:
    recipe: Recipe
    index: int
    steps_done: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        return ("cut short",) if "long" in self.recipe.prompt else ()

    @property
    def phase(self) -> Phase:
        return self.recipe.phase_at(self.steps_done)

    @property
    def batch_key(self) -> Hashable:
        return BatchKey.of(self.recipe, self.steps_done)

    @property
    def steps_total(self) -> int:
        return self.recipe.denoise_steps


class FakeEngine:
    """Words in a prompt: `die-in-PHASE`, `raise-in-PHASE`, `lose-in-PHASE`, `refuse`; `step-seconds=X` takes time."""

    def __init__(
        self, measure: Callable[[Measurement], None] = lambda _: None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.measure = measure
        self.sleep = sleep
        self.blend: Hashable = ()
        self.pinned = 0
        self.batches: list[list[str]] = []

    def prefetch(self, recipe: Recipe) -> Future[None]:
        self._misbehave(recipe, "prefetch")
        self.pinned += 1
        future: Future[None] = Future()
        if "refuse" in recipe.prompt:
            future.set_exception(AdapterRefused("broken file"))
        elif "never-near" not in recipe.prompt:
            future.set_result(None)
        return future

    def release(self, recipe: Recipe) -> None:
        self.pinned -= 1
        self._misbehave(recipe, "release")

    def begin(self, recipe: Recipe, index: int, inputs: Inputs) -> FakeCanvas:
        self._misbehave(recipe, "begin")
        return FakeCanvas(recipe, index)

    def step(self, canvases: Sequence[FakeCanvas]) -> None:
        assert len({canvas.batch_key for canvas in canvases}) == 1
        self.batches.append([canvas.recipe.prompt for canvas in canvases])
        if self.blend != (blend := canvases[0].phase.blend.unet_key):
            self.blend = blend
            self.measure(BlendSwitched(0.0, 1))
        for canvas in canvases:
            assert canvas.steps_done < canvas.steps_total
            self._misbehave(canvas.recipe, "step")
            canvas.steps_done += 1
        seconds = max(_number(canvas.recipe.prompt, "step-seconds") for canvas in canvases)
        self.sleep(seconds)
        self.measure(StepTaken(seconds, len(canvases), float(len(canvases))))

    def preview(self, canvas: FakeCanvas) -> Picture:
        self._misbehave(canvas.recipe, "preview")
        return self._grey(canvas)

    def finish(self, canvas: FakeCanvas) -> Picture:
        assert canvas.steps_done == canvas.steps_total
        self._misbehave(canvas.recipe, "finish")
        return self._grey(canvas)

    def _grey(self, canvas: FakeCanvas) -> Picture:
        width, height = canvas.recipe.paint_width, canvas.recipe.paint_height
        return Picture(width, height, "L", bytes([canvas.steps_done]) * (width * height))

    def _misbehave(self, recipe: Recipe, phase: str) -> None:
        words = recipe.prompt.split()
        if f"die-in-{phase}" in words:
            os._exit(17)
        if f"hang-in-{phase}" in words:
            self.sleep(60)
        if f"lose-in-{phase}" in words:
            raise DeviceLost("bus error")
        if f"raise-in-{phase}" in words:
            raise RuntimeError("secret path /etc")


def _number(prompt: str, name: str) -> float:
    given = [word.partition("=")[2] for word in prompt.split() if word.startswith(name + "=")]
    return float(given[0]) if given else 0.0


def opened(measure: Callable[[Measurement], None]) -> LoadedEngine[FakeCanvas]:
    return LoadedEngine(FakeEngine(measure), READY, 4)
