"""Takes recipes, keeps their models on the device: loaded while pictures are painted, evicted as the ledger decides.

A model is identified by kind and name. Models are loaded one after another on a thread of the pool's own, and evicted
when others need their memory and nothing pins them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import torch

from sdxl_gateway.core.errors import DoesNotFit, StillLoading
from sdxl_gateway.core.recipe import Phase, Recipe
from sdxl_gateway.engine.device import be_current, finish_steps, side_stream
from sdxl_gateway.engine.errors import give_memory_back, guarded, with_room
from sdxl_gateway.engine.memory.ledger import HOST, NO_PINS, VRAM, Ledger
from sdxl_gateway.engine.models.adapters import AdapterCaches
from sdxl_gateway.engine.models.host_copies import CopyKey
from sdxl_gateway.engine.models.loaders import CHECKPOINT, LoadedCheckpoint, Loader
from sdxl_gateway.engine.models.placement import Placement
from sdxl_gateway.engine.models.sources import Sources
from sdxl_gateway.engine.timing import Timings

log = logging.getLogger(__name__)

Key = tuple[str, str]
ROOM_BYTES = 512 * 2**20
"""About what a guided step, a switch of blends or a tiled decode takes."""


class ModelPool:
    """The models of one device; `loaders` has one for each kind, and up to `lanes` pictures fit into one step.

    `placement` says where weights are, and `timings` measures the device's work.

    Every model is an entry of the ledger under (kind, name). `pin`, `begin`, `unpin` and `get` are called on the
    engine's thread only. The model of each kind used last is not evicted for adapters, but may be for another model.
    Pins of recipes that are not painted yet give way to a recipe that is, which prevents deadlock. `on_load` is called
    after every load, on the loading thread; `get` waits at most `patience_seconds`.
    """

    def __init__(
        self,
        loaders: dict[str, Loader[Any]],
        sources: Sources,
        adapters: AdapterCaches,
        ledger: Ledger,
        device: torch.device,
        dtype: torch.dtype,
        *,
        timings: Timings,
        placement: Placement,
        patience_seconds: float | None = None,
        lanes: int,
    ) -> None:
        self.loaders = loaders
        self.sources = sources
        self.adapters = adapters
        self.ledger = ledger
        self.device = device
        self.dtype = dtype
        self.timings = timings
        self.placement = placement
        self.on_load: Callable[[], None] = lambda: None
        self._patience_seconds = patience_seconds
        self._pinned: Counter[Recipe] = Counter()
        self._begun: set[Recipe] = set()
        self.lanes = lanes
        self._models: dict[Key, Any] = {}
        self._leaving: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._in_use: dict[str, Key] = {}
        self._in_use_lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model-loader", initializer=self._init_thread)

    def names(self, kind: str) -> tuple[str, ...]:
        """The models of a kind, loaded or not."""
        return self.loaders[kind].names

    def keep(self, kind: str, name: str, model: Any, size_bytes: int) -> None:
        """Add a model that is on the device already, as the one in use."""
        key = (kind, name)
        self._hold(key, size_bytes)
        self._models[key] = model
        self._use(key)

    def get(self, kind: str, name: str) -> Any:
        """The model, as its loader gave it; waits for it to be loaded, unless a `pin` has had it loaded before.

        Raises ModelNotFound, DoesNotFit if models in use leave no room, EngineFault if it cannot be loaded, and
        StillLoading after `patience_seconds`, while loading continues.
        """
        self._unload_evicted()
        key = (kind, name)
        if self._in_use.get(kind) != key or key not in self._models:
            self._use(key)
        return self._models[key]

    def checkpoint(self, name: str) -> LoadedCheckpoint:
        """`get` of a checkpoint, with its type."""
        loaded: LoadedCheckpoint = self.get(CHECKPOINT, name)
        return loaded

    def checkpoint_of(self, phase: Phase) -> LoadedCheckpoint:
        """The phase's checkpoint."""
        return self.checkpoint(self.sources.name_of(phase))

    def need_not_stay(self, kind: str) -> None:
        """Allow the model of the kind used last to be evicted for adapters, unless a recipe pins it."""
        with self._in_use_lock:
            before = self._in_use.pop(kind, None)
        if before is not None:
            self.ledger.unpin(before)

    def pin(self, recipe: Recipe) -> Future[None]:
        """Load the recipe's models and adapters, and keep them until `unpin`.

        The future is done when they are loaded, and raises errors as `get` does. A model that does not fit beside what
        is pinned now is loaded by `get` later, when other recipes may have been unpinned.
        """
        keys = self._wanted_by(recipe)
        self._pinned[recipe] += 1
        for key in keys:
            self.ledger.pin(key)
        adapters = self.adapters.prefetch(recipe)
        missing = [key for key in keys if key not in self._models]
        return self._thread.submit(self._prefetch, missing, adapters) if missing else adapters

    def begin(self, recipe: Recipe) -> None:
        """The recipe is painted from now on: until `unpin`, its models are not evicted for any other."""
        if recipe in self._pinned:
            self._begun.add(recipe)

    def unpin(self, recipe: Recipe) -> None:
        """Undo one `pin`, whatever its future's result."""
        self._begun.discard(recipe)
        self._pinned[recipe] -= 1
        if self._pinned[recipe] <= 0:
            del self._pinned[recipe]
        for key in self._wanted_by(recipe):
            self.ledger.unpin(key)
        self.adapters.release(recipe)

    def make_room(self) -> None:
        """The device has less memory than planned: evict what nothing pins, and lower the budget; on any thread."""
        evicted = self.ledger.shrink(VRAM, ROOM_BYTES)
        self._unload_evicted()
        give_memory_back()
        kept = self.ledger.budget_bytes(VRAM)
        log.warning("the device is full: %d entries evicted, and the budget is now %s bytes", len(evicted), kept)

    def warm(self) -> dict[str, tuple[str, ...]]:
        """The digests of adapters warm in each tier."""
        return self.adapters.warm()

    def tiers(self, kind: str) -> dict[str, tuple[str, ...]]:
        """The models of a kind that are on the device, and those copied to host memory; from any thread."""
        on_device = tuple(name for one, name in list(self._models) if one == kind)
        copies = (key for key in self.ledger.keys(HOST) if isinstance(key, CopyKey) and key.kind == kind)
        return {VRAM: on_device, HOST: tuple(key.name for key in copies)}

    def close(self) -> None:
        """Finish a load in progress, start no other, and unload everything."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.adapters.close()
        for key in list(self._models):
            self.ledger.drop(VRAM, key)
            self._evicted(key)
        self._unload_evicted()

    def _wanted_by(self, recipe: Recipe) -> list[Key]:
        return [(kind, name) for kind, loader in self.loaders.items() for name in loader.wanted_by(recipe)]

    def _use(self, key: Key) -> None:
        kind, _ = key
        self.ledger.pin(key)
        try:
            if key not in self._models:
                self._wait_for(key)
        except BaseException:
            self.ledger.unpin(key)
            raise
        self.ledger.touch(VRAM, key)
        with self._in_use_lock:
            before, self._in_use[kind] = self._in_use.get(kind), key
        if before is not None:
            self.ledger.unpin(before)

    def _wait_for(self, key: Key) -> None:
        loading = self._thread.submit(guarded, partial(self._ensure_loaded, key, over=self._waiting_pins()))
        try:
            loading.result(self._patience_seconds)
        except FutureTimeout:
            raise StillLoading(waited_seconds=self._patience_seconds or 0.0) from None

    def _waiting_pins(self) -> Counter[Hashable]:
        """The number of each model's pins that belong to recipes not painted yet."""
        pins: Counter[Hashable] = Counter()
        for recipe, times in self._pinned.items():
            pins.update(dict.fromkeys(self._wanted_by(recipe), times - (recipe in self._begun)))
        return pins

    # -- on the loading thread

    def _init_thread(self) -> None:
        """Torch has a pool of compute threads for each calling thread: on a CPU the step loop needs the cores."""
        be_current(self.device)
        if self.device.type == "cpu":
            torch.set_num_threads(1)

    def _prefetch(self, keys: Sequence[Key], adapters: Future[None]) -> None:
        """Waits for the adapters first, so that no model is loaded for a LoRA that is refused."""
        adapters.result()
        for key in keys:
            guarded(partial(self._ensure_loaded, key))

    def _ensure_loaded(self, key: Key, *, over: Counter[Hashable] | None = None) -> None:
        """Load the model unless it is loaded, or no longer pinned.

        If it does not fit otherwise, the pins in `over` are disregarded; without `over` it is then not loaded.
        """
        if key in self._models or not self.ledger.pinned(key):
            return
        kind, name = key
        with self._pinned_key(key):
            cost_bytes = self.loaders[kind].cost_bytes(name)
            try:
                self._hold(key, cost_bytes)
            except DoesNotFit:
                if over is None:
                    return
                self._hold(key, cost_bytes, over)
            self._load(key)

    def _load(self, key: Key) -> None:
        kind, name = key
        try:
            with side_stream(self.device):
                model = with_room(lambda: self.loaders[kind].load(name), self.make_room)
        except BaseException:
            self.ledger.drop(VRAM, key)
            raise
        self._models[key] = model
        self.on_load()

    # -- on any thread

    def _hold(self, key: Key, cost_bytes: int, over: Mapping[Hashable, int] = NO_PINS) -> None:
        """Hold it in the ledger, evicting also models used last, and those with no more pins than `over` counts."""
        with self._in_use_lock:
            yielding = Counter[Hashable](self._in_use.values())
        yielding.update(over)
        self.ledger.hold(VRAM, key, cost_bytes, lambda: self._evicted(key), yielding)
        self._unload_evicted()

    @contextmanager
    def _pinned_key(self, key: Key) -> Iterator[None]:
        self.ledger.pin(key)
        try:
            yield
        finally:
            self.ledger.unpin(key)

    def _evicted(self, key: Key) -> None:
        kind, _ = key
        self._leaving.put((kind, self._models.pop(key)))

    def _unload_evicted(self) -> None:
        """Free the memory of models evicted so far, whichever thread evicted them."""
        if self._leaving.empty():
            return
        finish_steps(self.device)
        others = False
        with suppress(Empty):
            while True:
                kind, model = self._leaving.get_nowait()
                self.loaders[kind].unload(model)
                others = others or kind != CHECKPOINT
        # `unload` frees a checkpoint's weights; only other kinds need the garbage collector, which stops every thread.
        give_memory_back(collect=others)
