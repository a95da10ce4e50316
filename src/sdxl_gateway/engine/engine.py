"""DiffusionEngine: takes recipes, gives pictures, one step of one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

import torch

from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.events import MemoryHeld, StageTimed, StepTaken
from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Blend, Recipe
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.device import used_bytes
from sdxl_gateway.engine.errors import guarded
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.pool import LoadedCheckpoint, ModelPool
from sdxl_gateway.engine.stages import decode, denoise
from sdxl_gateway.engine.stages.encode import Embedding, EmbeddingCache, cut_warning, embedding_key, encode_text
from sdxl_gateway.engine.stages.prepare import prepare
from sdxl_gateway.engine.throttle import pace_of

T = TypeVar("T")
UNGUIDED = "The negative_prompt changes nothing at a guidance_scale of 1 or less."


class DiffusionEngine:
    """Paints on one device; every method but the prefetch's future belongs to the thread that owns it.

    Whatever goes wrong is raised as a GatewayError, or as DeviceLost when the process has to end.
    """

    def __init__(self, pool: ModelPool, measure: Measure) -> None:
        self._pool = pool
        self._measure = measure
        self._pace = pace_of(pool.device)
        self._embeddings = EmbeddingCache()
        self._blend: tuple[tuple[str, float], ...] = ()

    @property
    def device(self) -> str:
        return str(self._pool.device)

    @property
    def dtype(self) -> str:
        """The number format of the UNet, as "float16"."""
        return str(self._pool.dtype).removeprefix("torch.")

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The names recipes may ask for."""
        return self._pool.names

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Bring the adapters near and keep them, and the checkpoint, until `release`."""
        try:
            return self._pool.pin(recipe)
        except GatewayError as error:
            refused: Future[None] = Future()
            refused.set_exception(error)
            return refused

    def release(self, recipe: Recipe) -> None:
        self._pool.unpin(recipe)

    def begin(self, recipe: Recipe, index: int, inputs: Inputs) -> Canvas:
        """Raises ModelNotFound, AdapterRefused, DoesNotFit, InvalidRequest, EngineFault."""
        return guarded(lambda: self._begin(recipe, index, inputs))

    def step(self, canvases: Sequence[Canvas]) -> None:
        """Raises AdapterRefused, DoesNotFit, EngineFault."""
        guarded(lambda: self._step(canvases))

    def preview(self, canvas: Canvas) -> Picture:
        return guarded(lambda: _inferred(decode.preview, canvas))

    def finish(self, canvas: Canvas) -> Picture:
        """Raises NotFinite, DoesNotFit, EngineFault."""
        return guarded(lambda: self._finish(canvas))

    def close(self) -> None:
        """Let go of everything; the engine cannot be used any more."""
        self._pool.close()

    def _begin(self, recipe: Recipe, index: int, inputs: Inputs) -> Canvas:
        loaded = self._pool.load(recipe.checkpoint)
        with self._timed("encode"):
            positive = self._embedding(loaded, recipe.blend, recipe.prompt)
            negative = self._negative(loaded, recipe, positive)
        with self._timed("prepare"), torch.inference_mode():
            canvas = prepare(loaded.checkpoint, recipe, index, inputs, positive, negative)
        canvas.warnings = cut_warning("prompt", positive) + _negative_warning(recipe, negative)
        return canvas

    def _embedding(self, loaded: LoadedCheckpoint, blend: Blend, text: str) -> Embedding:
        def make() -> Embedding:
            loaded.switcher.put_on_text(blend)
            return _inferred(lambda checkpoint: encode_text(checkpoint, text, loaded.switcher.words), loaded.checkpoint)

        return self._embeddings.get(embedding_key(loaded.checkpoint, blend, text), make)

    def _negative(self, loaded: LoadedCheckpoint, recipe: Recipe, positive: Embedding) -> Embedding:
        if not recipe.guided:
            return positive
        if not recipe.negative_prompt and loaded.checkpoint.zeros_for_no_negative:
            return positive.zeros()
        return self._embedding(loaded, recipe.blend, recipe.negative_prompt)

    def _step(self, canvases: Sequence[Canvas]) -> None:
        first = canvases[0]
        self._put_on(first.checkpoint, first.recipe.blend)
        start = perf_counter()
        _inferred(denoise.step, canvases)
        self._pace.step_issued()
        rows = sum(canvas.conditioning.rows for canvas in canvases)
        work = rows * first.recipe.paint_width * first.recipe.paint_height / 1e6
        self._measure(StepTaken(perf_counter() - start, len(canvases), work))

    def _put_on(self, checkpoint: Checkpoint, blend: Blend) -> None:
        loaded = self._pool.load(checkpoint.name)
        loaded.switcher.put_on_unet(blend)
        if blend.unet_key != self._blend:
            self._blend = blend.unet_key
            self._tell_memory()

    def _finish(self, canvas: Canvas) -> Picture:
        with self._timed("decode"):
            picture = _inferred(decode.finished, canvas)
        self._tell_memory()
        return picture

    def _tell_memory(self) -> None:
        held = self._pool.ledger.bytes_by_tier()
        self._measure(MemoryHeld(held, self._pool.warm(), self._blend, used_bytes(self._pool.device)))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self._measure(StageTimed(stage, perf_counter() - start))


A = TypeVar("A")


def _negative_warning(recipe: Recipe, negative: Embedding) -> tuple[str, ...]:
    if recipe.guided:
        return cut_warning("negative_prompt", negative)
    return (UNGUIDED,) if recipe.negative_prompt.strip() else ()


def _inferred(call: Callable[[A], T], argument: A) -> T:
    with torch.inference_mode():
        return call(argument)
