"""Keeps the host at most one step ahead of an asynchronous device, without ever letting the device run idle."""

from __future__ import annotations

from sdxl_gateway.engine.timing import Mark


class Throttle:
    """`step_issued`, called after each step, blocks until the step before that is done.

    So a cancelled picture costs two more steps at most, and the device always has work queued.
    """

    def __init__(self) -> None:
        self._before: Mark | None = None

    def step_issued(self, end: Mark) -> None:
        """`end` marks the end of the step just issued; blocks until the one before it is done."""
        before, self._before = self._before, end
        if before is not None:
            before.wait()
