"""Stands in for a UNet in a step: makes each call in the fastest way available for it by now."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from sdxl_gateway.engine.canvas import joined
from sdxl_gateway.engine.unet.calls import Call, in_buckets
from sdxl_gateway.engine.unet.compiled import Codes
from sdxl_gateway.engine.unet.recorded import Recordings
from sdxl_gateway.engine.unet.target import Code

Way = Callable[[Call], Tensor]


class Denoiser:
    """Called as the UNet is. `codes` may grow while it is in use; without `recordings` nothing is recorded.

    Rows are split into buckets rather than padded up to one: a padded row costs as much as any other, and a picture's
    rounding would be that of a larger batch.
    """

    def __init__(self, unet: Any, codes: Codes, recordings: Recordings | None) -> None:
        self._unet = unet
        self._codes = codes
        self._recordings = recordings

    def __call__(self, sample: Tensor, timesteps: Tensor, **others: Any) -> tuple[Tensor]:
        call = Call.of(sample, timesteps, others)
        prediction = None if call is None else self._quickly(call)
        return self._unet(sample, timesteps, **others) if prediction is None else (prediction,)

    def close(self) -> None:
        """The UNet's weights are being moved; the device is idle."""
        if self._recordings is not None:
            self._recordings.close()

    def _quickly(self, call: Call) -> Tensor | None:
        """None if any of its buckets has no fast way: then the UNet is called once, for all rows."""
        parts = call.split(in_buckets(call.rows))
        ways = [way for part in parts if (way := self._way(part)) is not None]
        if len(ways) < len(parts):
            return None
        return joined([way(part) for way, part in zip(ways, parts, strict=True)])

    def _way(self, call: Call) -> Way | None:
        code = self._codes.get((call.form, call.rows))
        plain = partial(self._predicted, code)
        recorded = None if self._recordings is None else self._recordings.of(call, code, plain)
        return recorded or (None if code is None else plain)

    def _predicted(self, code: Code | None, call: Call) -> Tensor:
        return call.made(self._unet if code is None else partial(code, self._unet))
