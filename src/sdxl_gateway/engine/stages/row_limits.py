"""Takes batches that found no memory, tells of later ones whether they would: so none is tried in vain at each step."""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_gateway.engine.canvas import Canvas

STEPS_UNTIL_TRIED = 200
"""What took the room may be gone by then."""

Size = tuple[int, int]


class RowLimits:
    """By size of latents, how many rows of the UNet's were too many."""

    def __init__(self) -> None:
        self._too_many: dict[Size, int] = {}
        self._spared: dict[Size, int] = {}

    def note(self, canvases: Sequence[Canvas]) -> None:
        """So many rows found no room now."""
        size = _size(canvases)
        self._too_many[size] = min(_rows(canvases), self._too_many.get(size, _rows(canvases)))
        self._spared[size] = 0

    def forbid(self, canvases: Sequence[Canvas]) -> bool:
        """So many rows found no room lately; what is forbidden often enough is tried again."""
        size = _size(canvases)
        if _rows(canvases) < self._too_many.get(size, _rows(canvases) + 1):
            return False
        self._spared[size] += 1
        return self._spared[size] < STEPS_UNTIL_TRIED


def _size(canvases: Sequence[Canvas]) -> Size:
    height, width = canvases[0].latents.shape[-2:]
    return height, width


def _rows(canvases: Sequence[Canvas]) -> int:
    return sum(canvas.rows for canvas in canvases)
