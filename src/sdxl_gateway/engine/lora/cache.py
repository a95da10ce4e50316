"""Takes adapter digests, keeps their factors warm: on the device, else in host memory, else read from disk again.

A cache that is too small changes how long a switch takes, never a weight: whatever tier an adapter is found in, the
same numbers meet the same arithmetic on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from time import perf_counter

import torch
from torch import Tensor

from sdxl_gateway.core.errors import AdapterRefused, DoesNotFit
from sdxl_gateway.core.events import AdapterEvicted, AdapterLoaded
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.engine.device import await_event, be_current
from sdxl_gateway.engine.errors import device_full, give_memory_back, guarded, with_room
from sdxl_gateway.engine.lora.formats import Adapter, AdapterFile, Layout, lay_out
from sdxl_gateway.engine.lora.reading import Factors, read_factors
from sdxl_gateway.engine.memory.host_buffer import HostBuffer
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger

DISK = "disk"
REFUSED = "refused"
TIERS = (VRAM, HOST)

OpenAdapter = Callable[[str], AdapterFile]


class AdapterCache:
    """The adapters of one checkpoint; several checkpoints may share a ledger under different `name`s.

    `open_adapter` finds and plans the file of a digest, raising AdapterRefused. Pins are counted and keep an adapter
    in the tiers it is in; an adapter that finds no room beside pinned ones is still served, brought anew each time.
    `measure` is called from the reading threads too.
    """

    def __init__(
        self,
        open_adapter: OpenAdapter,
        ledger: Ledger,
        device: torch.device,
        measure: Measure,
        *,
        name: str = "",
        readers: int = 1,
    ) -> None:
        self._open_adapter = open_adapter
        self._ledger = ledger
        self._device = device
        self._measure = measure
        self._name = name
        self._near: dict[str, Adapter] = {}
        self._far: dict[str, Factors] = {}
        self._dense: dict[Hashable, Tensor] = {}
        self._flights: dict[str, Future[tuple[Adapter | Factors, str]]] = {}
        self._flights_lock = Lock()
        self._pool = ThreadPoolExecutor(
            readers, thread_name_prefix="adapter-reader", initializer=be_current, initargs=(device,)
        )

    def prefetch(self, digests: Iterable[str]) -> Future[None]:
        """Pin the adapters and bring them as near as there is room, off the caller's thread.

        The future raises AdapterRefused for a file that cannot be used, DoesNotFit for one no tier could ever hold,
        EngineFault or DeviceLost for what else went wrong. Every call wants one `release` with the same digests,
        whatever became of the future.
        """
        wanted = tuple(digests)
        self.pin(wanted)
        return self._pool.submit(guarded, partial(self._bring_all, wanted))

    def pin(self, digests: Iterable[str]) -> None:
        """One more user of each; they need not be loaded."""
        for digest in digests:
            self._ledger.pin(self._key(digest))

    def release(self, digests: Iterable[str]) -> None:
        """One user less of each."""
        for digest in digests:
            self._ledger.unpin(self._key(digest))

    def use(self, digest: str) -> Adapter:
        """The adapter, now: on the device if it is held there, else copied there for the caller alone.

        What the caller's stream is asked for afterwards finds it there. Waits for the disk when it is in neither tier.
        Raises AdapterRefused or DoesNotFit as `prefetch` does.
        """
        found = self._on_device(digest) or self._bring(digest, tell=(DISK,))
        adapter = found if isinstance(found, Adapter) else self._lent(found)
        await_event(adapter.arrived, self._device)
        return adapter

    def dense(self, key: Hashable, size_bytes: int, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives, kept on the device as long as there is room that nobody else wants.

        `size_bytes` is the tensor's; it enters only where nothing must be evicted for it.
        """
        entry = ("dense", self._name, key)
        found = self._dense.get(entry)
        if found is not None:
            self._ledger.touch(VRAM, entry)
            return found
        tensor = make()
        free_bytes = self._ledger.free_bytes(VRAM)
        if free_bytes is None or size_bytes <= free_bytes:
            self._dense[entry] = tensor
            self._hold_dense(entry, size_bytes)
        return tensor

    def warm(self) -> dict[str, tuple[str, ...]]:
        """The digests held in each tier."""
        return {VRAM: tuple(self._near), HOST: tuple(self._far)}

    def close(self) -> None:
        """Stop reading and let go of everything."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for tier, digests in self.warm().items():
            for digest in digests:
                self._ledger.drop(tier, self._key(digest))
        self._near.clear()
        self._far.clear()
        for entry in list(self._dense):
            self._ledger.drop(VRAM, entry)
        self._dense.clear()

    def _hold_dense(self, entry: Hashable, size_bytes: int) -> None:
        try:
            self._ledger.hold(VRAM, entry, size_bytes, lambda: self._forget_dense(entry))
        except DoesNotFit:
            del self._dense[entry]

    def _forget_dense(self, entry: Hashable) -> None:
        self._dense.pop(entry, None)

    def _key(self, digest: str) -> Hashable:
        return ("factors", self._name, digest)

    def _on_device(self, digest: str) -> Adapter | None:
        adapter = self._near.get(digest)
        if adapter is not None:
            self._ledger.touch(VRAM, self._key(digest))
        return adapter

    def _bring_all(self, digests: tuple[str, ...]) -> None:
        for digest in digests:
            self._bring(digest)

    def _bring(self, digest: str, *, tell: tuple[str, ...] = (VRAM, HOST, DISK)) -> Adapter | Factors:
        """Load once however many ask at the same time, and tell where it was found if that is one of `tell`."""
        start = perf_counter()
        try:
            found, source = self._join_flight(digest)
        except (AdapterRefused, DoesNotFit):
            self._measure(AdapterLoaded(digest, REFUSED, perf_counter() - start, 0))
            raise
        if source in tell:
            self._measure(AdapterLoaded(digest, source, perf_counter() - start, found.size_bytes))
        return found

    def _join_flight(self, digest: str) -> tuple[Adapter | Factors, str]:
        with self._flights_lock:
            flight = self._flights.get(digest)
            mine = flight is None
            if flight is None:
                flight = self._flights[digest] = Future()
        if mine:
            self._fly(digest, flight)
        return flight.result()

    def _fly(self, digest: str, flight: Future[tuple[Adapter | Factors, str]]) -> None:
        try:
            flight.set_result(self._load(digest))
        except BaseException as error:
            flight.set_exception(error)
        finally:
            with self._flights_lock:
                del self._flights[digest]

    def _load(self, digest: str) -> tuple[Adapter | Factors, str]:
        """The adapter on the device if there is room, else its factors in host memory; and the tier they were in."""
        near = self._on_device(digest)
        if near is not None:
            return near, VRAM
        far = self._far.get(digest)
        if far is not None:
            self._ledger.touch(HOST, self._key(digest))
            return self._promoted(far) or far, HOST
        layout = lay_out(self._open_adapter(digest))
        self._refuse_oversized(layout)
        factors = read_factors(layout, pinned=self._pinned)
        adapter = self._promoted(factors)
        if adapter is None:
            factors.refuse_misfits()
        self._keep_far(factors)
        return adapter or factors, DISK

    @property
    def _pinned(self) -> bool:
        """Host memory is page-locked, so that the device copies from it by itself."""
        return self._device.type == "cuda"

    def _refuse_oversized(self, layout: Layout) -> None:
        if not any(self._ledger.could_ever_fit(tier, layout.size_bytes) for tier in TIERS):
            raise DoesNotFit(f"A LoRA of {layout.size_bytes} bytes is larger than the memory set aside for LoRAs.")

    def _promoted(self, factors: Factors) -> Adapter | None:
        """On the device if there is room, by the ledger's word and in truth."""
        if not self._make_room(VRAM, factors.digest, factors.size_bytes):
            return None
        try:
            adapter = self._put_there(factors)
        except BaseException as error:
            self._ledger.drop(VRAM, self._key(factors.digest))
            if device_full(error):
                return None
            raise
        self._near[factors.digest] = adapter
        self._stay_if_held(VRAM, factors.digest)
        return adapter

    def _put_there(self, factors: Factors) -> Adapter:
        """Once more without what nobody needs, where the device is fuller than the ledger knows."""
        return with_room(lambda: factors.on(self._device), lambda: self._make_true_room(factors.size_bytes))

    def _make_true_room(self, size_bytes: int) -> None:
        self._ledger.shrink(VRAM, size_bytes)
        give_memory_back(collect=False)

    def _keep_far(self, factors: Factors) -> None:
        cost_bytes = HostBuffer.cost_bytes(factors.size_bytes, pinned=self._pinned)
        if self._make_room(HOST, factors.digest, cost_bytes):
            self._far[factors.digest] = factors
            self._stay_if_held(HOST, factors.digest)

    def _lent(self, factors: Factors) -> Adapter:
        """On the device, for as long as the caller keeps it."""
        try:
            return self._put_there(factors)
        except Exception as error:
            if not device_full(error):
                raise
            raise DoesNotFit("The device has no room left to put this LoRA blend on.") from error

    def _make_room(self, tier: str, digest: str, size_bytes: int) -> bool:
        try:
            self._ledger.hold(tier, self._key(digest), size_bytes, lambda: self._evicted(tier, digest, size_bytes))
        except DoesNotFit:
            return False
        return True

    def _stay_if_held(self, tier: str, digest: str) -> None:
        """Evicted again between the ledger's leave and now: nobody would take it out any more."""
        if not self._ledger.holds(tier, self._key(digest)):
            self._forget(tier, digest)

    def _evicted(self, tier: str, digest: str, size_bytes: int) -> None:
        self._forget(tier, digest)
        self._measure(AdapterEvicted(digest, tier, size_bytes))

    def _forget(self, tier: str, digest: str) -> None:
        (self._near if tier == VRAM else self._far).pop(digest, None)
