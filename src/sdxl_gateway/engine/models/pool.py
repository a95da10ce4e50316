"""Takes recipes, keeps the models they are painted with on the device: loaded beside the step loop, as the ledger says.

A model is known by its kind and its name. Models are loaded one after the other on a thread of the pool's own, and
leave when others need their room and nobody wants them kept.
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
"""What a guided step, a switch or a decode in tiles takes."""


class ModelPool:
    """The models of one device; `loaders` has one for each kind, `lanes` pictures find room in one step.

    Their weights are where `placement` says, and what they are given to do is timed by `timings`.

    Every model is an entry of the ledger under (kind, name). `pin`, `begin`, `unpin` and `get` belong to the engine's
    thread. Of each kind the model used last stays when adapters need room, though not when another model does. What
    only waiting recipes want gives way to what is painted next, for somebody has to be first. `on_load` is called
    whenever a model was loaded, on the loading thread; `get` waits for one at most `patience_seconds`.
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
        self.on_load: Callable[[], None] = _nobody_asks
        self._patience_seconds = patience_seconds
        self._pinned: Counter[Recipe] = Counter()
        self._begun: set[Recipe] = set()
        self.lanes = lanes
        self._models: dict[Key, Any] = {}
        self._leaving: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._in_use: dict[str, Key] = {}
        self._in_use_lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model-loader", initializer=self._stay_modest)

    def names(self, kind: str) -> tuple[str, ...]:
        """The models of a kind, loaded or not."""
        return self.loaders[kind].names

    def keep(self, kind: str, name: str, model: Any, size_bytes: int) -> None:
        """Take in a model that is on the device already, as the one in use."""
        key = (kind, name)
        self._hold(key, size_bytes)
        self._models[key] = model
        self._use(key)

    def get(self, kind: str, name: str) -> Any:
        """The model, as its loader gave it; loaded now, waiting, where no `pin` has brought it near.

        Raises ModelNotFound, DoesNotFit when what is painted with leaves no room, EngineFault for one that cannot be
        loaded, StillLoading when that takes long: it goes on.
        """
        self._let_go()
        key = (kind, name)
        if self._in_use.get(kind) != key or key not in self._models:
            self._use(key)
        return self._models[key]

    def checkpoint(self, name: str) -> LoadedCheckpoint:
        """`get` of a checkpoint, with its type."""
        found: LoadedCheckpoint = self.get(CHECKPOINT, name)
        return found

    def checkpoint_of(self, phase: Phase) -> LoadedCheckpoint:
        """The one that takes these steps."""
        return self.checkpoint(self.sources.name_of(phase))

    def need_not_stay(self, kind: str) -> None:
        """The model of the kind used last may leave when adapters need room, unless a recipe has it pinned."""
        with self._in_use_lock:
            before = self._in_use.pop(kind, None)
        if before is not None:
            self.ledger.unpin(before)

    def pin(self, recipe: Recipe) -> Future[None]:
        """Keep the recipe's models and adapters until `unpin`, and bring them near.

        The future is done when they are, and raises what went wrong, as `get` does. A model that finds no room beside
        what is pinned now is left to `get`, when other recipes may have been unpinned.
        """
        keys = self._wanted_by(recipe)
        self._pinned[recipe] += 1
        for key in keys:
            self.ledger.pin(key)
        adapters = self.adapters.prefetch(recipe)
        far = [key for key in keys if key not in self._models]
        return self._thread.submit(self._prefetch, far, adapters) if far else adapters

    def begin(self, recipe: Recipe) -> None:
        """The recipe is painted from now on, until `unpin`: nobody gets room at its models' cost."""
        if recipe in self._pinned:
            self._begun.add(recipe)

    def unpin(self, recipe: Recipe) -> None:
        """Undoes one `pin`, whatever became of its future."""
        self._begun.discard(recipe)
        self._pinned[recipe] -= 1
        if self._pinned[recipe] <= 0:
            del self._pinned[recipe]
        for key in self._wanted_by(recipe):
            self.ledger.unpin(key)
        self.adapters.release(recipe)

    def make_room(self) -> None:
        """The device has less memory than was planned with: what nobody needs leaves, to make room to paint in.

        The ledger will hold so much less from now on, on any thread.
        """
        evicted = self.ledger.shrink(VRAM, ROOM_BYTES)
        self._let_go()
        give_memory_back()
        kept = self.ledger.budget_bytes(VRAM)
        log.warning("the device is full: %d entries left it, %s bytes may be held from now on", len(evicted), kept)

    def warm(self) -> dict[str, tuple[str, ...]]:
        """The digests of adapters warm in each tier."""
        return self.adapters.warm()

    def tiers(self, kind: str) -> dict[str, tuple[str, ...]]:
        """The models of a kind that are on the device, and those copied to host memory; from any thread."""
        near = tuple(name for one, name in list(self._models) if one == kind)
        copies = (key for key in self.ledger.keys(HOST) if isinstance(key, CopyKey) and key.kind == kind)
        return {VRAM: near, HOST: tuple(key.name for key in copies)}

    def close(self) -> None:
        """Let go of everything, once a model that is being loaded is there; those that wait are not loaded."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.adapters.close()
        for key in list(self._models):
            self.ledger.drop(VRAM, key)
            self._evicted(key)
        self._let_go()

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
        loading = self._thread.submit(guarded, partial(self._bring, key, over=self._waiting()))
        try:
            loading.result(self._patience_seconds)
        except FutureTimeout:
            raise StillLoading(waited_seconds=self._patience_seconds or 0.0) from None

    def _waiting(self) -> Counter[Hashable]:
        """How many of each model's pins are those of recipes that nobody paints yet."""
        pins: Counter[Hashable] = Counter()
        for recipe, times in self._pinned.items():
            pins.update(dict.fromkeys(self._wanted_by(recipe), times - (recipe in self._begun)))
        return pins

    # -- on the loading thread

    def _stay_modest(self) -> None:
        """Torch keeps a number of threads for each thread that calls it: on a CPU the step loop needs the others."""
        be_current(self.device)
        if self.device.type == "cpu":
            torch.set_num_threads(1)

    def _prefetch(self, keys: Sequence[Key], adapters: Future[None]) -> None:
        """The adapters first: for a file that is refused no model is loaded."""
        adapters.result()
        for key in keys:
            guarded(partial(self._bring, key))

    def _bring(self, key: Key, *, over: Counter[Hashable] | None = None) -> None:
        """Load it unless it is there, or nobody wants it any more.

        Without `over`, pins that give way when there is no room otherwise, one that finds no room is left alone.
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
        """Also at the cost of the models used last, and of those with no more pins than `over` has of them."""
        with self._in_use_lock:
            yielding = Counter[Hashable](self._in_use.values())
        yielding.update(over)
        self.ledger.hold(VRAM, key, cost_bytes, lambda: self._evicted(key), yielding)
        self._let_go()

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

    def _let_go(self) -> None:
        """Of models that were evicted, on whatever thread."""
        if self._leaving.empty():
            return
        finish_steps(self.device)
        others = False
        with suppress(Empty):
            while True:
                kind, model = self._leaving.get_nowait()
                self.loaders[kind].unload(model)
                others = others or kind != CHECKPOINT
        # A checkpoint's weights went with it; the collector, which stops every thread, is for what others leave behind.
        give_memory_back(collect=others)


def _nobody_asks() -> None:
    pass
