"""Gives CUDA's streams: lines of work that a device does side by side."""

from __future__ import annotations

import torch


def new_stream(device: torch.device, priority: int = 0) -> torch.cuda.Stream:
    """A stream of its own; of two with work to do, the one of the lower number goes first."""
    # torch leaves its constructor untyped.
    stream: torch.cuda.Stream = torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]
    return stream
