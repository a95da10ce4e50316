"""Takes work for a CUDA device, gives it as a graph of kernels that is launched at once: the Recorder of CUDA."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class CudaRecording:
    """One graph, and the tensor it writes, which is in the memory all graphs share."""

    graph: torch.cuda.CUDAGraph
    output: Tensor

    def replay(self) -> None:
        """On the present stream."""
        self.graph.replay()


class CudaRecorder:
    """Captures on a stream of its own, into one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        # torch leaves its constructor untyped.
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def record(self, work: Callable[[], Tensor]) -> CudaRecording:
        """As the protocol says.

        Other threads go on copying and decoding on streams of their own, and allocate: in the mode "thread_local" only
        this thread is kept from what a capture cannot contain.
        """
        graph, steps = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        self._stream.wait_stream(steps)
        with torch.cuda.stream(self._stream), _uncollected():
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                output = work()
            except BaseException:
                with suppress(RuntimeError):
                    graph.capture_end()
                raise
            graph.capture_end()
        steps.wait_stream(self._stream)
        return CudaRecording(graph, output)

    def held_bytes(self) -> int:
        """Of the pool, as torch's allocator counts it."""
        segments = torch.cuda.memory_snapshot(self._pool)  # type: ignore[no-untyped-call]
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
