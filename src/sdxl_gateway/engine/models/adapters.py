"""Takes a checkpoint's name, gives the cache of its adapters; what a recipe's blend needs is brought near and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from functools import cache
from pathlib import Path

import torch

from sdxl_gateway.catalog.checkpoints import checkpoint_shapes
from sdxl_gateway.config import EngineProcess
from sdxl_gateway.core.errors import ModelNotFound
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Phase, Recipe
from sdxl_gateway.engine.lora.cache import AdapterCache, OpenAdapter
from sdxl_gateway.engine.lora.embeddings import EmbeddingFiles
from sdxl_gateway.engine.lora.formats import AdapterFile
from sdxl_gateway.engine.lora.stored import stored_adapters
from sdxl_gateway.engine.memory.ledger import Ledger
from sdxl_gateway.engine.models.checkpoint import Source


class AdapterCaches:
    """One cache for each checkpoint of `sources`, all on one ledger; a cache outlives its checkpoint's stay.

    `embeddings` are small, belong to no checkpoint and are on no ledger.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        config: EngineProcess,
        ledger: Ledger,
        device: torch.device,
        measure: Measure,
    ) -> None:
        self.embeddings = EmbeddingFiles(config.data_directory)
        self._caches = {
            name: AdapterCache(_opener(source.path, config), ledger, device, measure, name=name)
            for name, source in sources.items()
        }

    def of(self, checkpoint: str) -> AdapterCache:
        """Raises ModelNotFound."""
        if checkpoint not in self._caches:
            raise ModelNotFound(f"There is no checkpoint '{checkpoint[:200]}'.")
        return self._caches[checkpoint]

    def prefetch(self, recipe: Recipe) -> Future[None]:
        """Keep the adapters of all phases until `release`, and bring them near; the future raises what went wrong."""
        done: Future[None] = Future()
        _end_after([self._prefetch(phase) for phase in recipe.phases], done)
        return done

    def release(self, recipe: Recipe) -> None:
        """Undoes one `prefetch`."""
        for phase in recipe.phases:
            if phase.checkpoint in self._caches:
                self.of(phase.checkpoint).release(phase.blend.digests)

    def _prefetch(self, phase: Phase) -> Future[None]:
        done: Future[None] = Future()
        try:
            found = self.of(phase.checkpoint)
        except ModelNotFound as error:
            done.set_exception(error)
            return done
        if phase.blend.digests:
            return found.prefetch(phase.blend.digests)
        done.set_result(None)
        return done

    def warm(self) -> dict[str, tuple[str, ...]]:
        """The digests of adapters warm in each tier, for any checkpoint."""
        found: dict[str, dict[str, None]] = {}
        for one in self._caches.values():
            for tier, digests in one.warm().items():
                found.setdefault(tier, {}).update(dict.fromkeys(digests))
        return {tier: tuple(digests) for tier, digests in found.items()}

    def close(self) -> None:
        """Stop reading and let go of everything."""
        for one in self._caches.values():
            one.close()


def _end_after(parts: Sequence[Future[None]], done: Future[None]) -> None:
    """`done` ends when all `parts` have, or as the first that ends badly."""

    def go_on(part: Future[None]) -> None:
        problem = CancelledError() if part.cancelled() else part.exception()
        if problem is not None:
            done.set_exception(problem)
        else:
            _end_after(parts[1:], done)

    if parts:
        parts[0].add_done_callback(go_on)
    else:
        done.set_result(None)


def _opener(path: Path, config: EngineProcess) -> OpenAdapter:
    """Reads the checkpoint's shapes with the first file that is planned against them."""

    @cache
    def opener() -> OpenAdapter:
        return stored_adapters(config.data_directory, checkpoint_shapes(path), config.loras)

    def open_adapter(digest: str) -> AdapterFile:
        return opener()(digest)

    return open_adapter
