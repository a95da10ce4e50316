"""Takes batches that ran out of memory, predicts which later ones would too, so that no step tries them in vain."""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_gateway.engine.canvas import Canvas

STEPS_UNTIL_TRIED = 200
"""Then a batch is tried again, as more memory may be free."""

Size = tuple[int, int]


class RowLimits:
    """For each size of latents, the number of UNet rows that was too many."""

    def __init__(self) -> None:
        self._too_many: dict[Size, int] = {}
        self._steps_forbidden: dict[Size, int] = {}

    def note(self, canvases: Sequence[Canvas]) -> None:
        """This batch ran out of memory now."""
        size = _size(canvases)
        self._too_many[size] = min(_rows(canvases), self._too_many.get(size, _rows(canvases)))
        self._steps_forbidden[size] = 0

    def forbid(self, canvases: Sequence[Canvas]) -> bool:
        """As many rows ran out of memory lately; after STEPS_UNTIL_TRIED refusals they may try again."""
        size = _size(canvases)
        if _rows(canvases) < self._too_many.get(size, _rows(canvases) + 1):
            return False
        self._steps_forbidden[size] += 1
        return self._steps_forbidden[size] < STEPS_UNTIL_TRIED


def _size(canvases: Sequence[Canvas]) -> Size:
    height, width = canvases[0].latents.shape[-2:]
    return height, width


def _rows(canvases: Sequence[Canvas]) -> int:
    return sum(canvas.rows for canvas in canvases)
