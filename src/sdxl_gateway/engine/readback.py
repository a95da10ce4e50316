"""Takes pixels on the device, gives them on the host as a Picture, once somebody waits for it.

The copy goes into page-locked memory, behind the work that makes the pixels; the host goes on meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdxl_gateway.core.picture import Picture
from sdxl_gateway.engine.timing import Clock, Mark


@dataclass(frozen=True, slots=True, eq=False)
class Readback:
    """Bytes under way. The device reads `kept` until then: no other stream may get its memory before."""

    _host: Tensor
    _arrived: Mark
    kept: Tensor

    @classmethod
    def begin(cls, data: Tensor, clock: Clock, kept: Tensor) -> Readback:
        """Of (n,) uint8, on the present stream."""
        if data.device.type != "cuda":
            return cls(data.cpu(), clock(), kept)
        host = torch.empty(data.shape, dtype=data.dtype, pin_memory=True)
        return cls(host.copy_(data, non_blocking=True), clock(), kept)

    def wait(self) -> Tensor:
        """(n,) uint8 on the host; from any thread. Raises what became of the work that made it."""
        self._arrived.wait()
        return self._host


def eight_bit(pixels: Tensor) -> Tensor:
    """(height, width, 3) uint8 of (1, 3, height, width) float, -1 to 1 and a little beyond; where those are."""
    rows = (pixels * 0.5 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return rows[0].permute(1, 2, 0)


def picture_of(data: Tensor, height: int, width: int) -> Picture:
    """Of (height * width * 3,) uint8 on the host."""
    return Picture(width, height, "RGB", data.numpy().tobytes())
