"""Keeps the host at most one step ahead of a device that works on its own, without ever letting it run dry."""

from __future__ import annotations

from sdxl_gateway.engine.timing import Mark


class Throttle:
    """`step_issued` after each step returns once the step before is done.

    So a cancelled picture costs two steps at most, and there is always work in line.
    """

    def __init__(self) -> None:
        self._before: Mark | None = None

    def step_issued(self, end: Mark) -> None:
        """`end` stands behind the step's work; returns when the step before is done."""
        before, self._before = self._before, end
        if before is not None:
            before.wait()
