"""Takes recipes, keeps the models they are painted with on the device: loaded beside the step loop, as the ledger says.

A model is known by its kind and its name. Models are loaded one after the other on a thread of the pool's own, and
leave when others need their room and nobody wants them kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import torch

from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.device import finish_steps, side_stream
from sdxl_gateway.engine.errors import give_memory_back, guarded
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.models.adapters import AdapterCaches
from sdxl_gateway.engine.models.loaders import CHECKPOINT, LoadedCheckpoint, Loader

Key = tuple[str, str]


class ModelPool:
    """The models of one device; `loaders` has one for each kind.

    Every model is an entry of the ledger under (kind, name). `pin`, `unpin` and `get` belong to the engine's thread.
    Of each kind the model used last stays when adapters need room, though not when another model does.
    """

    def __init__(
        self,
        loaders: dict[str, Loader[Any]],
        adapters: AdapterCaches,
        ledger: Ledger,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.loaders = loaders
        self.adapters = adapters
        self.ledger = ledger
        self.device = device
        self.dtype = dtype
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

        Raises ModelNotFound, DoesNotFit when what is pinned leaves no room, EngineFault for one that cannot be loaded.
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

    def pin(self, recipe: Recipe) -> Future[None]:
        """Keep the recipe's models and adapters until `unpin`, and bring them near.

        The future is done when they are, and raises what went wrong, as `get` does. A model that finds no room beside
        what is pinned now is left to `get`, when other recipes may have been unpinned.
        """
        keys = self._wanted_by(recipe)
        for key in keys:
            self.ledger.pin(key)
        adapters = self.adapters.prefetch(recipe)
        far = [key for key in keys if key not in self._models]
        return self._thread.submit(self._prefetch, far, adapters) if far else adapters

    def unpin(self, recipe: Recipe) -> None:
        """Undoes one `pin`, whatever became of its future."""
        for key in self._wanted_by(recipe):
            self.ledger.unpin(key)
        self.adapters.release(recipe)

    def warm(self) -> dict[str, tuple[str, ...]]:
        """The digests of adapters warm in each tier."""
        return self.adapters.warm()

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
                self._thread.submit(guarded, partial(self._bring, key)).result()
        except BaseException:
            self.ledger.unpin(key)
            raise
        self.ledger.touch(VRAM, key)
        with self._in_use_lock:
            before, self._in_use[kind] = self._in_use.get(kind), key
        if before is not None:
            self.ledger.unpin(before)

    # -- on the loading thread

    def _stay_modest(self) -> None:
        """Torch keeps a number of threads for each thread that calls it: on a CPU the step loop needs the others."""
        if self.device.type == "cpu":
            torch.set_num_threads(1)

    def _prefetch(self, keys: Sequence[Key], adapters: Future[None]) -> None:
        """The adapters first: for a file that is refused no model is loaded."""
        adapters.result()
        for key in keys:
            guarded(partial(self._bring, key, wait_for_room=True))

    def _bring(self, key: Key, *, wait_for_room: bool = False) -> None:
        """Load it unless it is there, or nobody wants it any more."""
        if key in self._models or not self.ledger.pinned(key):
            return
        kind, name = key
        with self._pinned(key):
            try:
                self._hold(key, self.loaders[kind].cost_bytes(name))
            except DoesNotFit:
                if wait_for_room:
                    return
                raise
            self._load(key)

    def _load(self, key: Key) -> None:
        kind, name = key
        try:
            with side_stream(self.device):
                model = self.loaders[kind].load(name)
        except BaseException:
            self.ledger.drop(VRAM, key)
            raise
        self._models[key] = model

    # -- on any thread

    def _hold(self, key: Key, cost_bytes: int) -> None:
        with self._in_use_lock:
            in_use = tuple(self._in_use.values())
            for one in in_use:
                self.ledger.unpin(one)
            try:
                self.ledger.hold(VRAM, key, cost_bytes, lambda: self._evicted(key))
            finally:
                for one in in_use:
                    self.ledger.pin(one)
        self._let_go()

    @contextmanager
    def _pinned(self, key: Key) -> Iterator[None]:
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
        with suppress(Empty):
            while True:
                self._unload(*self._leaving.get_nowait())
        give_memory_back()

    def _unload(self, kind: str, model: Any) -> None:
        self.loaders[kind].unload(model)
