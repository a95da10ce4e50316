"""Takes pixels on the device, copies them to the host asynchronously, gives a Picture to whoever waits for the copy.

It goes into page-locked memory, on the stream that computes the pixels, so the host does not wait.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdxl_gateway.core.picture import Picture
from sdxl_gateway.engine.timing import Clock, Mark


@dataclass(frozen=True, slots=True, eq=False)
class Readback:
    """A copy in progress. It holds `kept`, which the device still reads, so that its memory is not given to others."""

    _host: Tensor
    _arrived: Mark
    kept: Tensor

    @classmethod
    def begin(cls, data: Tensor, clock: Clock, kept: Tensor) -> Readback:
        """Copy (n,) uint8, on the current stream."""
        if data.device.type != "cuda":
            return cls(data.cpu(), clock(), kept)
        host = torch.empty(data.shape, dtype=data.dtype, pin_memory=True)
        return cls(host.copy_(data, non_blocking=True), clock(), kept)

    def wait(self) -> Tensor:
        """(n,) uint8 on the host; from any thread. Raises errors of the work before the copy."""
        self._arrived.wait()
        return self._host


def eight_bit(pixels: Tensor) -> Tensor:
    """(height, width, 3) uint8 of (1, 3, height, width) float, -1 to 1 (clamped), on the same device."""
    rows = (pixels * 0.5 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return rows[0].permute(1, 2, 0)


def picture_of(data: Tensor, height: int, width: int) -> Picture:
    """A Picture of (height * width * 3,) uint8 on the host."""
    return Picture(width, height, "RGB", data.numpy().tobytes())
