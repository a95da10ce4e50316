"""Takes a job and the engines there are; gives the one to paint it: its blend warm first, then the least to do."""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_gateway.core.job import Job, Priority
from sdxl_gateway.jobs.seat import Seat


def with_room(seats: Sequence[Seat], priority: Priority, window_images: int) -> list[Seat]:
    """Engines that can paint and may be given another job of that class.

    Only images of that class or a higher one fill the window, so a higher class is never kept out by a lower one.
    """
    return [seat for seat in seats if seat.ready is not None and seat.images(priority) < window_images]


def choose(seats: Sequence[Seat], job: Job) -> Seat:
    """`seats` is not empty."""
    return min(seats, key=lambda seat: (not seat.has_warm(job), seat.images(job.priority)))
