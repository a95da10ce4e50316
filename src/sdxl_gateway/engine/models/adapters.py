"""Takes a checkpoint's name, gives the cache of its adapters; loads and pins those that a recipe's blends need."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from functools import cache
from threading import Lock

import torch

from sdxl_gateway.catalog.checkpoints import checkpoint_shapes
from sdxl_gateway.config import EngineProcess
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Phase, Recipe
from sdxl_gateway.engine.lora.cache import AdapterCache, OpenAdapter
from sdxl_gateway.engine.lora.embeddings import EmbeddingFiles
from sdxl_gateway.engine.lora.formats import AdapterFile
from sdxl_gateway.engine.lora.stored import stored_adapters
from sdxl_gateway.engine.memory.ledger import Ledger
from sdxl_gateway.engine.models.sources import Sources


class AdapterCaches:
    """One cache for each checkpoint of `sources`, all in one ledger; a cache is kept when its checkpoint is evicted.

    `embeddings` (textual inversions) are small, belong to no checkpoint and are not in the ledger.
    """

    def __init__(
        self,
        sources: Sources,
        config: EngineProcess,
        ledger: Ledger,
        device: torch.device,
        measure: Measure,
    ) -> None:
        self.embeddings = EmbeddingFiles(config.data_directory)
        self._sources = sources
        self._config = config
        self._ledger = ledger
        self._device = device
        self._measure = measure
        self._caches: dict[str, AdapterCache] = {}
        self._lock = Lock()

    def of(self, checkpoint: str) -> AdapterCache:
        """The cache for a checkpoint by the engine's name, loaded or not; created on first use."""
        with self._lock:
            if checkpoint not in self._caches:
                self._caches[checkpoint] = self._new_cache(checkpoint)
            return self._caches[checkpoint]

    def _new_cache(self, checkpoint: str) -> AdapterCache:
        opener = _opener(self._sources, checkpoint, self._config)
        return AdapterCache(opener, self._ledger, self._device, self._measure, name=checkpoint)

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Load the adapters of all phases and keep them until `release`; the future raises what went wrong."""
        done: Future[None] = Future()
        _end_after([self._prefetch(phase) for phase in recipe.phases], done)
        return done

    def release(self, recipe: Recipe) -> None:
        """Undo one `prefetch`."""
        for phase in recipe.phases:
            if phase.blend.digests:
                self.of(self._sources.name_of(phase)).release(phase.blend.digests)

    def _prefetch(self, phase: Phase) -> Future[None]:
        if phase.blend.digests:
            return self.of(self._sources.name_of(phase)).prefetch(phase.blend.digests)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def warm(self) -> dict[str, tuple[str, ...]]:
        """The digests of adapters warm in each tier, for any checkpoint."""
        warm: dict[str, dict[str, None]] = {}
        for one in self._all():
            for tier, digests in one.warm().items():
                warm.setdefault(tier, {}).update(dict.fromkeys(digests))
        return {tier: tuple(digests) for tier, digests in warm.items()}

    def close(self) -> None:
        """Stop reading and free everything."""
        for one in self._all():
            one.close()

    def _all(self) -> list[AdapterCache]:
        with self._lock:
            return list(self._caches.values())


def _end_after(parts: Sequence[Future[None]], done: Future[None]) -> None:
    """Complete `done` when all `parts` are done, or with the error of the first that fails."""

    def proceed(part: Future[None]) -> None:
        problem = CancelledError() if part.cancelled() else part.exception()
        if problem is not None:
            done.set_exception(problem)
        else:
            _end_after(parts[1:], done)

    if parts:
        parts[0].add_done_callback(proceed)
    else:
        done.set_result(None)


def _opener(sources: Sources, checkpoint: str, config: EngineProcess) -> OpenAdapter:
    """Reads the checkpoint's shapes only when the first file is opened."""

    @cache
    def opener() -> OpenAdapter:
        return stored_adapters(config.data_directory, checkpoint_shapes(sources.of(checkpoint).path), config.loras)

    def open_adapter(digest: str) -> AdapterFile:
        return opener()(digest)

    return open_adapter
