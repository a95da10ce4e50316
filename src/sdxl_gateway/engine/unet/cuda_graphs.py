"""Takes work for a CUDA device, gives it as a graph of kernels that is launched at once: the Recorder of CUDA."""

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
    """One graph, and the tensor it writes, which is in the memory all graphs share."""

    graph: torch.cuda.CUDAGraph
    output: Tensor

    def replay(self) -> None:
        """On the present stream."""
        self.graph.replay()


class CudaRecorder:
    """Captures on a stream of its own, into one pool of memory; into another one after a capture that failed."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pools = [torch.cuda.graph_pool_handle()]
        self._stream = new_stream(device)
        self._first: CudaRecording | None = None

    def record(self, work: Callable[[], Tensor]) -> CudaRecording:
        """As the protocol says."""
        if self._first is None:
            # A pool whose last graph is gone takes no other one: one of next to nothing stays.
            self._first = self._recorded(lambda: torch.zeros(1, device=self._device))
        return self._recorded(work)

    def _recorded(self, work: Callable[[], Tensor]) -> CudaRecording:
        """Other threads go on copying and decoding on streams of their own, and allocate meanwhile.

        In the mode "thread_local" only this thread is kept from what a capture cannot contain.
        """
        graph, steps = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        self._stream.wait_stream(steps)
        with torch.cuda.stream(self._stream), _uncollected():
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
        """Torch takes it for one that is still recorded into."""
        with suppress(RuntimeError):
            graph.capture_end()
        self._pools.append(torch.cuda.graph_pool_handle())
        self._first = None

    def held_bytes(self) -> int:
        """Of its pools, as torch's allocator counts it."""
        return sum(map(_pool_bytes, self._pools))


def _pool_bytes(pool: tuple[int, int]) -> int:
    segments = torch.cuda.memory_snapshot(pool)  # type: ignore[no-untyped-call]
    return sum(segment["total_size"] for segment in segments)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collected objects may be other graphs, which cannot be destroyed within a capture."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
