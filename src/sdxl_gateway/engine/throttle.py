"""Keeps the host at most one step ahead of a device that works on its own, without ever letting it run dry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch


class Event(Protocol):
    """A mark in the device's line of work."""

    def record(self) -> None:
        """Put the mark behind all work issued so far."""

    def synchronize(self) -> None:
        """Wait until the device has come to the mark."""


class Throttle:
    """`step_issued` after each step returns once the step before is done.

    So a step's measured time is the device's, a cancelled picture costs two steps at most, and there is always work in
    line. On a CPU, where work is done when its call returns, there is nothing to wait for.
    """

    def __init__(self, make_event: Callable[[], Event] | None) -> None:
        self._make_event = make_event
        self._before: Event | None = None

    def step_issued(self) -> None:
        """Called when a step's work is issued; returns when the step before is done."""
        if self._make_event is None:
            return
        event = self._make_event()
        event.record()
        if self._before is not None:
            self._before.synchronize()
        self._before = event


def throttle_of(device: torch.device) -> Throttle:
    """With the device's own kind of event."""
    if device.type == "cuda":
        return Throttle(torch.cuda.Event)
    return Throttle(torch.mps.Event if device.type == "mps" else None)
