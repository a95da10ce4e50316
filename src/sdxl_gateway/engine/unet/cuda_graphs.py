"""Takes work for a CUDA device, captures it as a CUDA graph, which is launched at once: the Recorder for CUDA."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from sdxl_gateway.engine.streams import new_stream


@dataclass(frozen=True, slots=True, eq=False)
class CudaRecording:
    """A graph, and the tensor it writes, which is in the memory pool that all graphs share."""

    graph: torch.cuda.CUDAGraph
    output: Tensor

    def replay(self) -> None:
        """On the current stream."""
        self.graph.replay()


class CudaRecorder:
    """Captures on a stream of its own, into one memory pool; into a new pool after a capture that failed."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pools = [torch.cuda.graph_pool_handle()]
        self._stream = new_stream(device)
        self._first: CudaRecording | None = None

    def record(self, work: Callable[[], Tensor]) -> CudaRecording:
        """As the protocol says."""
        if self._first is None:
            # A pool cannot be used again once its last graph is destroyed, so a tiny graph is kept.
            self._first = self._captured(lambda: torch.zeros(1, device=self._device))
        return self._captured(work)

    def _captured(self, work: Callable[[], Tensor]) -> CudaRecording:
        """Other threads go on copying, decoding and allocating on their own streams.

        So the capture's mode is "thread_local", which forbids only this thread the calls that a capture cannot contain.
        """
        graph, steps = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        self._stream.wait_stream(steps)
        with torch.cuda.stream(self._stream), _without_gc():
            graph.capture_begin(pool=self._pools[-1], capture_error_mode="thread_local")
            try:
                output = work()
                graph.capture_end()
            except BaseException:
                self._leave_pool(graph)
                raise
        steps.wait_stream(self._stream)
        return CudaRecording(graph, output)

    def _leave_pool(self, graph: torch.cuda.CUDAGraph) -> None:
        """After a failed capture, torch regards its pool as still being captured into."""
        with suppress(RuntimeError):
            graph.capture_end()
        self._pools.append(torch.cuda.graph_pool_handle())
        self._first = None

    def held_bytes(self) -> int:
        """The size of its pools, by torch's allocator."""
        return sum(map(_pool_bytes, self._pools))


def _pool_bytes(pool: tuple[int, int]) -> int:
    segments = torch.cuda.memory_snapshot(pool)  # type: ignore[no-untyped-call]
    return sum(segment["total_size"] for segment in segments)


@contextmanager
def _without_gc() -> Iterator[None]:
    """Garbage may include other graphs, which cannot be destroyed during a capture."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
