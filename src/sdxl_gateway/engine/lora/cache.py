"""Takes adapter digests, caches their factors: on the device, else in host memory, else read from disk again.

The cache affects only the time of a switch, never a weight: whatever tier an adapter is found in, the device computes
with the same numbers.
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

    `open_adapter` finds and plans the file of a digest, raising AdapterRefused. Pins are counted and keep an adapter in
    its tiers; one that does not fit beside pinned ones is loaded anew at each use. `measure` is called from the reading
    threads too.
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
        self._on_device: dict[str, Adapter] = {}
        self._in_host: dict[str, Factors] = {}
        self._dense: dict[Hashable, Tensor] = {}
        self._flights: dict[str, Future[tuple[Adapter | Factors, str]]] = {}
        self._flights_lock = Lock()
        self._pool = ThreadPoolExecutor(
            readers, thread_name_prefix="adapter-reader", initializer=be_current, initargs=(device,)
        )

    def prefetch(self, digests: Iterable[str]) -> Future[None]:
        """Pin the adapters and load them into the fastest tier with room, on another thread.

        The future raises AdapterRefused for a file that cannot be used, DoesNotFit for one that no tier could ever
        hold, EngineFault or DeviceLost for other failures. Every call must be followed by one `release` of the same
        digests, whatever the future's result.
        """
        wanted = tuple(digests)
        self.pin(wanted)
        return self._pool.submit(guarded, partial(self._load_all, wanted))

    def pin(self, digests: Iterable[str]) -> None:
        """Add a pin to each; they need not be loaded."""
        for digest in digests:
            self._ledger.pin(self._key(digest))

    def release(self, digests: Iterable[str]) -> None:
        """Remove one pin from each."""
        for digest in digests:
            self._ledger.unpin(self._key(digest))

    def use(self, digest: str) -> Adapter:
        """The adapter on the device, from the cache, or copied there for this caller only.

        Later work of the caller's stream waits for the copy. Blocks on the disk if the adapter is in neither tier.
        Raises AdapterRefused or DoesNotFit as `prefetch` does.
        """
        found = self._cached_on_device(digest) or self._load_once(digest, tell=(DISK,))
        adapter = found if isinstance(found, Adapter) else self._copied_for_caller(found)
        await_event(adapter.arrived, self._device)
        return adapter

    def dense(self, key: Hashable, size_bytes: int, make: Callable[[], Tensor]) -> Tensor:
        """The result of `make`, cached on the device until others need its memory.

        `size_bytes` is the tensor's; it is cached only if nothing must be evicted for it.
        """
        entry = ("dense", self._name, key)
        cached = self._dense.get(entry)
        if cached is not None:
            self._ledger.touch(VRAM, entry)
            return cached
        tensor = make()
        free_bytes = self._ledger.free_bytes(VRAM)
        if free_bytes is None or size_bytes <= free_bytes:
            self._dense[entry] = tensor
            self._hold_dense(entry, size_bytes)
        return tensor

    def warm(self) -> dict[str, tuple[str, ...]]:
        """The digests held in each tier."""
        return {VRAM: tuple(self._on_device), HOST: tuple(self._in_host)}

    def close(self) -> None:
        """Stop reading and free everything."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for tier, digests in self.warm().items():
            for digest in digests:
                self._ledger.drop(tier, self._key(digest))
        self._on_device.clear()
        self._in_host.clear()
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

    def _cached_on_device(self, digest: str) -> Adapter | None:
        adapter = self._on_device.get(digest)
        if adapter is not None:
            self._ledger.touch(VRAM, self._key(digest))
        return adapter

    def _load_all(self, digests: tuple[str, ...]) -> None:
        for digest in digests:
            self._load_once(digest)

    def _load_once(self, digest: str, *, tell: tuple[str, ...] = (VRAM, HOST, DISK)) -> Adapter | Factors:
        """Concurrent calls share one load; its source is measured if that is one of `tell`."""
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
        adapter = self._cached_on_device(digest)
        if adapter is not None:
            return adapter, VRAM
        cached = self._in_host.get(digest)
        if cached is not None:
            self._ledger.touch(HOST, self._key(digest))
            return self._promoted(cached) or cached, HOST
        layout = lay_out(self._open_adapter(digest))
        self._refuse_oversized(layout)
        factors = read_factors(layout, pinned=self._pinned)
        adapter = self._promoted(factors)
        if adapter is None:
            factors.refuse_misfits()
        self._keep_in_host(factors)
        return adapter or factors, DISK

    @property
    def _pinned(self) -> bool:
        """Host memory is page-locked, so that the device can copy from it asynchronously."""
        return self._device.type == "cuda"

    def _refuse_oversized(self, layout: Layout) -> None:
        if not any(self._ledger.could_ever_fit(tier, layout.size_bytes) for tier in TIERS):
            raise DoesNotFit(f"A LoRA of {layout.size_bytes} bytes is larger than the memory set aside for LoRAs.")

    def _promoted(self, factors: Factors) -> Adapter | None:
        """The adapter, copied to the device; None if the ledger has no room, or the allocation fails."""
        if not self._make_room(VRAM, factors.digest, factors.size_bytes):
            return None
        try:
            adapter = self._to_device(factors)
        except BaseException as error:
            self._ledger.drop(VRAM, self._key(factors.digest))
            if device_full(error):
                return None
            raise
        self._on_device[factors.digest] = adapter
        self._drop_if_evicted(VRAM, factors.digest)
        return adapter

    def _to_device(self, factors: Factors) -> Adapter:
        """Retried after evictions, if the device is fuller than the ledger knows."""
        return with_room(lambda: factors.on(self._device), lambda: self._shrink(factors.size_bytes))

    def _shrink(self, size_bytes: int) -> None:
        self._ledger.shrink(VRAM, size_bytes)
        give_memory_back(collect=False)

    def _keep_in_host(self, factors: Factors) -> None:
        cost_bytes = HostBuffer.cost_bytes(factors.size_bytes, pinned=self._pinned)
        if self._make_room(HOST, factors.digest, cost_bytes):
            self._in_host[factors.digest] = factors
            self._drop_if_evicted(HOST, factors.digest)

    def _copied_for_caller(self, factors: Factors) -> Adapter:
        """On the device, uncached, for as long as the caller keeps it."""
        try:
            return self._to_device(factors)
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

    def _drop_if_evicted(self, tier: str, digest: str) -> None:
        """If it was evicted between `hold` and now, its callback has run already and found nothing to remove."""
        if not self._ledger.holds(tier, self._key(digest)):
            self._forget(tier, digest)

    def _evicted(self, tier: str, digest: str, size_bytes: int) -> None:
        self._forget(tier, digest)
        self._measure(AdapterEvicted(digest, tier, size_bytes))

    def _forget(self, tier: str, digest: str) -> None:
        (self._on_device if tier == VRAM else self._in_host).pop(digest, None)
