"""Creates CUDA streams: queues of device work that may run concurrently."""

from __future__ import annotations

import torch


def new_stream(device: torch.device, priority: int = 0) -> torch.cuda.Stream:
    """A new stream; work in streams of lower `priority` numbers is scheduled first."""
    # torch leaves its constructor untyped.
    stream: torch.cuda.Stream = torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]
    return stream
