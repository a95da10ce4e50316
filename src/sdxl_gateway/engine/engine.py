"""DiffusionEngine: takes recipes, gives pictures, one step of one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import TypeVar

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.events import MemoryHeld, StageTimed, StepTaken
from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import BlendKey, Phase, Recipe
from sdxl_gateway.engine.canvas import Canvas, Pending
from sdxl_gateway.engine.device import card_name, used_bytes
from sdxl_gateway.engine.errors import guarded, with_room
from sdxl_gateway.engine.memory.ledger import VRAM
from sdxl_gateway.engine.models.loaders import CHECKPOINT
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.sideline import Sideline
from sdxl_gateway.engine.stages.stage import Stage, having
from sdxl_gateway.engine.throttle import Throttle
from sdxl_gateway.scheduling.costs import step_work

T = TypeVar("T")


class DiffusionEngine:
    """Paints on one device; its methods are called on one thread only, while futures may be waited for on any.

    Every failure is raised as a GatewayError, or as DeviceLost when the process has to end. A call that runs out of
    memory is retried once, after everything unused has been evicted from the device.
    """

    def __init__(
        self, pool: ModelPool, stages: Sequence[Stage], measure: Measure, sideline: Sideline | None = None
    ) -> None:
        self._pool = pool
        self._measure = measure
        self._timings = pool.timings
        self._throttle = Throttle()
        self._sideline = Sideline.of(pool.placement) if sideline is None else sideline
        self._beginning, self._handing_over, self._stepping, self._closing, self._previewing, self._finishing = (
            having(stages, method) for method in ("begin", "hand_over", "step", "close", "preview", "finish")
        )
        self._blend: BlendKey = ()
        pool.on_load = self.tell_memory

    @property
    def device(self) -> str:
        """As torch writes it: "cuda:0", "cpu"."""
        return str(self._pool.device)

    @property
    def card(self) -> str:
        """The GPU's own name; empty where there is none."""
        return card_name(self._pool.device)

    @property
    def dtype(self) -> str:
        """The number format of the UNet, as "float16"."""
        return str(self._pool.dtype).removeprefix("torch.")

    @property
    def lanes(self) -> int:
        """How many pictures may share a step: `engine.max_lanes`, or fewer where memory does not allow for that."""
        return self._pool.lanes

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The names recipes may ask for."""
        return self._pool.names(CHECKPOINT)

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Load the recipe's models and adapters and keep them until `release`; the future raises what went wrong."""
        return self._pool.pin(recipe)

    def release(self, recipe: Recipe) -> None:
        """The job of an earlier `prefetch` ended."""
        self._pool.unpin(recipe)

    def begin(self, recipe: Recipe, index: int, inputs: Inputs) -> Canvas:
        """Raises ModelNotFound, AdapterRefused, DoesNotFit, InvalidRequest, EngineFault."""
        return self._guarded(lambda: self._begin(recipe, index, inputs))

    def step(self, canvases: Sequence[Canvas]) -> None:
        """Raises AdapterRefused, DoesNotFit, EngineFault."""
        before = _progress(canvases)
        self._guarded(lambda: self._step(canvases), lambda: _progress(canvases) == before)

    def preview(self, canvas: Canvas) -> Future[Picture]:
        """Raises DoesNotFit, EngineFault, here or from the future."""
        return self._sideline.follow(partial(guarded, self._guarded(lambda: self._preview(canvas))))

    def finish(self, canvas: Canvas) -> Future[Picture]:
        """Raises NotFinite, DoesNotFit, EngineFault, here or from the future."""
        return self._sideline.follow(partial(guarded, self._guarded(lambda: self._finish(canvas))))

    def close(self) -> None:
        """Wait for pictures being finished, then free everything; the engine cannot be used any more."""
        self._sideline.close()
        self._pool.close()

    def _guarded(self, call: Callable[[], T], may_repeat: Callable[[], bool] = lambda: True) -> T:
        return guarded(lambda: with_room(call, self._pool.make_room, may_repeat))

    def _begin(self, recipe: Recipe, index: int, inputs: Inputs) -> Canvas:
        self._pool.begin(recipe)
        canvas = Canvas(recipe, index, inputs, self._pool.checkpoint_of(recipe.phases[0]).checkpoint)
        for stage in self._beginning:
            with self._timed(stage):
                stage.begin(canvas)
        return canvas

    def _step(self, canvases: Sequence[Canvas]) -> None:
        if canvases[0].denoised:
            self._close(canvases[0])
            canvases[0].steps_done += 1
            self._throttle.step_issued(self._timings.mark())
        else:
            self._denoise(canvases)

    def _close(self, canvas: Canvas) -> None:
        for stage in self._closing:
            begun = self._timings.mark()
            if stage.close(canvas):
                self._timings.ended(begun, partial(StageTimed, stage.name))

    def _denoise(self, canvases: Sequence[Canvas]) -> None:
        for canvas in canvases:
            self._enter_phase(canvas)
        self._put_on(canvases[0].phase)
        begun, work = self._timings.mark(), sum(step_work(canvas.recipe, canvas.steps_done) for canvas in canvases)
        for stage in self._stepping:
            stage.step(canvases)
        self._throttle.step_issued(self._timings.ended(begun, lambda it: StepTaken(it, len(canvases), work)))
        self._timings.tell()

    def _enter_phase(self, canvas: Canvas) -> None:
        """Switch to the phase's checkpoint, if it is another. Two of one digest share a batch, but not always a VAE."""
        before = canvas.checkpoint
        if before.name == self._pool.sources.name_of(canvas.phase):
            return
        canvas.checkpoint = self._pool.checkpoint_of(canvas.phase).checkpoint
        if canvas.phase.from_share is not None:
            try:
                self._hand_over(canvas)
            except BaseException:
                canvas.checkpoint = before  # so that a retried step begins the hand-over anew
                raise

    def _hand_over(self, canvas: Canvas) -> None:
        for stage in self._handing_over:
            with self._timed(stage):
                stage.hand_over(canvas)

    def _put_on(self, phase: Phase) -> None:
        self._pool.checkpoint_of(phase).switcher.put_on_unet(phase.blend)
        if phase.blend.unet_key != self._blend:
            self._blend = phase.blend.unet_key
            self.tell_memory()

    def _preview(self, canvas: Canvas) -> Pending:
        with self._sideline.beside():
            previews = (stage.preview(canvas) for stage in self._previewing)
            return _not_none(next((pending for pending in previews if pending is not None), None))

    def _finish(self, canvas: Canvas) -> Pending:
        if not canvas.closing_steps:
            with self._sideline.beside():
                self._close(canvas)
        return lambda: self._collect(canvas)

    def _collect(self, canvas: Canvas) -> Picture:
        """On the sideline's thread, while the loop goes on with steps."""
        canvas.collect()
        for stage in self._finishing:
            start = perf_counter()
            stage.finish(canvas)
            self._measure(StageTimed(stage.name, perf_counter() - start))
        self._timings.tell()
        self.tell_memory()
        return _not_none(canvas.picture)

    def tell_memory(self) -> None:
        """Report what memory is held now; from any thread."""
        pool, ledger = self._pool, self._pool.ledger
        used, near = used_bytes(pool.device), pool.tiers(CHECKPOINT)
        versions = {tier: tuple(map(pool.sources.version_of, names)) for tier, names in near.items()}
        held, kinds, budget = ledger.bytes_by_tier(), ledger.bytes_by_kind(VRAM), ledger.budget_bytes(VRAM)
        self._measure(MemoryHeld(held, pool.warm(), _weights(self._blend), used, versions, kinds, budget))

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        begun = self._timings.mark()
        yield
        self._timings.ended(begun, partial(StageTimed, stage.name))


def _not_none(value: T | None) -> T:
    if value is None:
        raise EngineFault("No stage made the picture.")
    return value


def _progress(canvases: Sequence[Canvas]) -> list[tuple[int, bool]]:
    return [(canvas.steps_done, canvas.step_failed) for canvas in canvases]


def _weights(key: BlendKey) -> tuple[tuple[str, float], ...]:
    """One number for each adapter; of block weights that of layers outside the blocks."""
    return tuple((digest, weight[0] if isinstance(weight, tuple) else weight) for digest, weight in key)
