"""Takes the configured checkpoints, gives those asked for on the device: loaded when first used, kept on the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import EngineProcess
from sdxl_gateway.core.errors import ModelNotFound
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.errors import give_memory_back
from sdxl_gateway.engine.lora.apply import BlendSwitcher
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.stored import stored_adapters
from sdxl_gateway.engine.memory.budgets import ledger_budgets
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.models.checkpoint import Checkpoint, Source, load_checkpoint


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint on the device with what puts blends on it."""

    checkpoint: Checkpoint
    switcher: BlendSwitcher


@dataclass(slots=True, eq=False)
class ModelPool:
    """The checkpoints of one device; the first of `sources` is mounted from the start.

    `compiled` gives a checkpoint ready to be called fast. The ledger has room for that first checkpoint on top of what
    `[memory]` sets aside. A checkpoint nobody pins may have to leave for another one.
    """

    config: EngineProcess
    sources: Mapping[str, Source]
    device: torch.device
    dtype: torch.dtype
    measure: Measure
    compiled: Callable[[Checkpoint], Checkpoint]
    ledger: Ledger = field(init=False)
    _current: str = field(init=False)
    _loaded: dict[str, LoadedCheckpoint] = field(init=False, default_factory=dict)
    _leaving: list[LoadedCheckpoint] = field(init=False, default_factory=list)
    _caches: dict[str, AdapterCache] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        name, source = next(iter(self.sources.items()))
        checkpoint = load_checkpoint(source, self.device, self.dtype)
        checkpoint = self.compiled(checkpoint)
        budgets = ledger_budgets(self.config.memory, self.device)
        beside = budgets[VRAM]
        self.ledger = Ledger(budgets | {VRAM: None if beside is None else beside + checkpoint.size_bytes()})
        self._admit(name, checkpoint.size_bytes())
        self._keep(checkpoint)
        self._current = name
        self.ledger.pin(_key(name))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sources)

    def load(self, name: str) -> LoadedCheckpoint:
        """Raises ModelNotFound, and DoesNotFit when what is pinned leaves no room."""
        self._let_go()
        if name != self._current:
            self._make_current(name)
        return self._loaded[name]

    def _make_current(self, name: str) -> None:
        """Load it if it is not there; it cannot leave while it is the one in use."""
        source = self._source(name)
        self.ledger.unpin(_key(self._current))
        try:
            if name not in self._loaded:
                self._load(source)
            self.ledger.touch(VRAM, _key(name))
            self._current = name
        finally:
            self.ledger.pin(_key(self._current))

    def _load(self, source: Source) -> None:
        self._admit(source.name, source.parameters() * self.dtype.itemsize)
        try:
            # Not compiled, even if it once was: pictures wait for it.
            self._keep(load_checkpoint(source, self.device, self.dtype))
        except BaseException:
            self.ledger.drop(VRAM, _key(source.name))
            raise

    def pin(self, recipe: Recipe) -> Future[None]:
        """Keep the recipe's checkpoint and adapters, bringing the adapters near. Raises ModelNotFound."""
        cache = self._cache(recipe.checkpoint)
        self.ledger.pin(_key(recipe.checkpoint))
        if recipe.blend.digests:
            return cache.prefetch(recipe.blend.digests)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def unpin(self, recipe: Recipe) -> None:
        cache = self._caches.get(recipe.checkpoint)
        if cache is not None:
            self.ledger.unpin(_key(recipe.checkpoint))
            cache.release(recipe.blend.digests)

    def warm(self) -> dict[str, tuple[str, ...]]:
        """The digests of adapters warm in each tier, for any checkpoint."""
        found: dict[str, dict[str, None]] = {}
        for cache in self._caches.values():
            for tier, digests in cache.warm().items():
                found.setdefault(tier, {}).update(dict.fromkeys(digests))
        return {tier: tuple(digests) for tier, digests in found.items()}

    def close(self) -> None:
        for cache in self._caches.values():
            cache.close()
        for loaded in self._loaded.values():
            loaded.switcher.close()
        self._loaded.clear()

    def _keep(self, checkpoint: Checkpoint) -> None:
        switcher = BlendSwitcher(
            checkpoint.blendable(),
            self._cache(checkpoint.name),
            self.ledger,
            self.measure,
            name=checkpoint.name,
            pristine=self.config.memory.pristine,
        )
        self._loaded[checkpoint.name] = LoadedCheckpoint(checkpoint, switcher)

    def _admit(self, name: str, size_bytes: int) -> None:
        self.ledger.admit(VRAM, _key(name), size_bytes, lambda: self._leaving.append(self._loaded.pop(name)))
        self._let_go()

    def _let_go(self) -> None:
        """Of checkpoints the ledger evicted, which may have happened while an adapter was read on another thread."""
        if not self._leaving:
            return
        while self._leaving:
            self._leaving.pop().switcher.close()
        give_memory_back()

    def _cache(self, name: str) -> AdapterCache:
        if name not in self._caches:
            shapes = module_shapes(self._source(name).folder)
            opener = stored_adapters(self.config.data_directory, shapes, self.config.loras)
            self._caches[name] = AdapterCache(opener, self.ledger, self.device, self.measure, name=name)
        return self._caches[name]

    def _source(self, name: str) -> Source:
        if name not in self.sources:
            raise ModelNotFound(f"There is no checkpoint '{name[:200]}'.")
        return self.sources[name]


def _key(name: str) -> tuple[str, str]:
    return ("checkpoint", name)
