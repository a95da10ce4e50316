"""Allowance: what somebody may take; Meter: what is counted against it, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum


class Unit(StrEnum):
    """What is counted: requests and images in any minute, pixel-steps in a day (UTC), jobs at once."""

    REQUESTS = "requests"
    IMAGES = "images"
    PIXEL_STEPS = "pixel-steps"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a tenant or a key may take; 0 is no limit.

    A pixel-step is one pixel painted in one step. `max_pixels` is of a picture as it is handed out, and the other two
    are of one request.
    """

    requests_per_minute: int = 0
    images_per_minute: int = 0
    pixel_steps_per_day: int = 0
    concurrent_jobs: int = 0
    max_pixels: int = 0
    max_steps: int = 0
    max_n: int = 0

    @property
    def said(self) -> dict[str, int]:
        """The limits there are, by name."""
        return {name: most for name in LIMIT_NAMES if (most := getattr(self, name))}

    def tightened_by(self, other: Allowance) -> Allowance:
        """Where both say something, the smaller."""
        both = {name: min(most, self.said.get(name, most)) for name, most in other.said.items()}
        return replace(self, **both)

    def most(self, unit: Unit) -> int:
        """Of what is counted; 0 is no limit."""
        return {
            Unit.REQUESTS: self.requests_per_minute,
            Unit.IMAGES: self.images_per_minute,
            Unit.PIXEL_STEPS: self.pixel_steps_per_day,
            Unit.JOBS: self.concurrent_jobs,
        }[unit]


NO_LIMITS = Allowance()
LIMIT_NAMES = tuple(field.name for field in fields(Allowance))


@dataclass(frozen=True, slots=True)
class Meter:
    """Counts one unit for one holder, a tenant or a key, up to `most`."""

    holder: str
    unit: Unit
    most: int


@dataclass(frozen=True, slots=True)
class Level:
    """How a meter stands: how much more may be taken, and in how many seconds all of it may be again."""

    meter: Meter
    remaining: int
    reset_seconds: float
