"""Takes adapter digests, keeps their factors warm: on the device, else in host memory, else read from disk again.

A cache that is too small changes how long a switch takes, never a weight: whatever tier an adapter is found in, the
same numbers meet the same arithmetic on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from time import perf_counter

import torch
from torch import Tensor

from sdxl_gateway.core.errors import AdapterRefused, DoesNotFit
from sdxl_gateway.core.events import AdapterEvicted, AdapterLoaded
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.engine.device import side_stream
from sdxl_gateway.engine.lora.formats import Adapter, AdapterFile, Layout, lay_out, read_adapter
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger

DISK = "disk"
REFUSED = "refused"
TIERS = (VRAM, HOST)

OpenAdapter = Callable[[str], AdapterFile]


class AdapterCache:
    """The adapters of one checkpoint; several checkpoints may share a ledger under different `name`s.

    `open_adapter` finds and plans the file of a digest, raising AdapterRefused. Pins are counted and keep an adapter
    in the tiers it is in; an adapter that finds no room beside pinned ones is still served, read anew each time.
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
        self._held: dict[str, dict[str, Adapter]] = {tier: {} for tier in TIERS}
        self._dense: dict[Hashable, Tensor] = {}
        self._flights: dict[str, Future[tuple[Adapter, str]]] = {}
        self._flights_lock = Lock()
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="adapter-reader")

    def prefetch(self, digests: Iterable[str]) -> Future[None]:
        """Pin the adapters and bring them as near as there is room, off the caller's thread.

        The future raises AdapterRefused for a file that cannot be used and DoesNotFit for one no tier could ever
        hold. Every call wants one `release` with the same digests, whatever became of the future.
        """
        wanted = tuple(digests)
        self.pin(wanted)
        return self._pool.submit(self._bring_all, wanted)

    def pin(self, digests: Iterable[str]) -> None:
        """One more user of each; they need not be loaded."""
        for digest in digests:
            self._ledger.pin(self._key(digest))

    def release(self, digests: Iterable[str]) -> None:
        """One user less of each."""
        for digest in digests:
            self._ledger.unpin(self._key(digest))

    def use(self, digest: str) -> Adapter:
        """The adapter, now: on the device if it is held there, else in host memory.

        Waits for the disk when it is in neither. Raises AdapterRefused or DoesNotFit as `prefetch` does.
        """
        adapter = self._near(digest)
        if adapter is None:
            adapter = self._bring(digest, tell=(DISK,))
        if adapter.buffer.is_cuda:
            # The copy was made on a reader's stream: its memory must not be given away while this stream reads it.
            adapter.buffer.record_stream(torch.cuda.current_stream(adapter.buffer.device))
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
        return {tier: tuple(held) for tier, held in self._held.items()}

    def close(self) -> None:
        """Stop reading and let go of everything."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for tier in TIERS:
            for digest in list(self._held[tier]):
                self._ledger.drop(tier, self._key(digest))
            self._held[tier].clear()
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

    def _near(self, digest: str) -> Adapter | None:
        adapter = self._held[VRAM].get(digest)
        if adapter is not None:
            self._ledger.touch(VRAM, self._key(digest))
        return adapter

    def _bring_all(self, digests: tuple[str, ...]) -> None:
        for digest in digests:
            self._bring(digest)

    def _bring(self, digest: str, *, tell: tuple[str, ...] = (VRAM, HOST, DISK)) -> Adapter:
        """Load once however many ask at the same time, and tell where it was found if that is one of `tell`."""
        start = perf_counter()
        try:
            adapter, source = self._join_flight(digest)
        except (AdapterRefused, DoesNotFit):
            self._measure(AdapterLoaded(digest, REFUSED, perf_counter() - start, 0))
            raise
        if source in tell:
            self._measure(AdapterLoaded(digest, source, perf_counter() - start, adapter.size_bytes))
        return adapter

    def _join_flight(self, digest: str) -> tuple[Adapter, str]:
        with self._flights_lock:
            flight = self._flights.get(digest)
            mine = flight is None
            if flight is None:
                flight = self._flights[digest] = Future()
        if mine:
            self._fly(digest, flight)
        return flight.result()

    def _fly(self, digest: str, flight: Future[tuple[Adapter, str]]) -> None:
        try:
            flight.set_result(self._load(digest))
        except BaseException as error:
            flight.set_exception(error)
        finally:
            with self._flights_lock:
                del self._flights[digest]

    def _load(self, digest: str) -> tuple[Adapter, str]:
        """The adapter in the nearest tier with room, and the tier it was found in."""
        near = self._near(digest)
        if near is not None:
            return near, VRAM
        far = self._held[HOST].get(digest)
        if far is not None:
            self._ledger.touch(HOST, self._key(digest))
            return self._promoted(far), HOST
        layout = lay_out(self._open_adapter(digest))
        self._refuse_oversized(layout)
        adapter = read_adapter(layout, pin=self._device.type == "cuda")
        self._hold(HOST, adapter)
        return self._promoted(adapter), DISK

    def _refuse_oversized(self, layout: Layout) -> None:
        if not any(self._ledger.could_ever_fit(tier, layout.size_bytes) for tier in TIERS):
            raise DoesNotFit(f"A LoRA of {layout.size_bytes} bytes is larger than the memory set aside for LoRAs.")

    def _promoted(self, adapter: Adapter) -> Adapter:
        """On the device if there is room, by the ledger's word and in truth, else as it is."""
        if not self._make_room(VRAM, adapter):
            return adapter
        try:
            near = self._copied(adapter)
        except BaseException as error:
            self._ledger.drop(VRAM, self._key(adapter.digest))
            if isinstance(error, torch.OutOfMemoryError):
                return adapter
            raise
        self._put(VRAM, near)
        return near

    def _copied(self, adapter: Adapter) -> Adapter:
        with side_stream(self._device):
            return adapter.to(self._device)

    def _hold(self, tier: str, adapter: Adapter) -> None:
        if self._make_room(tier, adapter):
            self._put(tier, adapter)

    def _make_room(self, tier: str, adapter: Adapter) -> bool:
        digest, size_bytes = adapter.digest, self._cost_bytes(tier, adapter)
        try:
            self._ledger.hold(tier, self._key(digest), size_bytes, lambda: self._evicted(tier, digest, size_bytes))
        except DoesNotFit:
            return False
        return True

    def _cost_bytes(self, tier: str, adapter: Adapter) -> int:
        """What the adapter takes up in `tier`: page-locked memory comes in powers of two."""
        if tier == HOST and adapter.buffer.is_pinned():
            return 1 << (adapter.size_bytes - 1).bit_length()
        return adapter.size_bytes

    def _put(self, tier: str, adapter: Adapter) -> None:
        self._held[tier][adapter.digest] = adapter
        # Evicted again between the ledger's leave and now: nobody would take it out any more.
        if not self._ledger.holds(tier, self._key(adapter.digest)):
            self._held[tier].pop(adapter.digest, None)

    def _evicted(self, tier: str, digest: str, size_bytes: int) -> None:
        self._held[tier].pop(digest, None)
        self._measure(AdapterEvicted(digest, tier, size_bytes))
