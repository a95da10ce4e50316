"""Takes the items of a request to a rollout, tells the listeners how its arm did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sdxl_gateway.core.errors import Busy, Cancelled, Refusal, StorageFull, Unavailable
from sdxl_gateway.core.events import ArmEnded, ArmOutcome
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.gateway.events import Accepted, Done, Item, Presented

NOT_NOW = (Busy, Unavailable, StorageFull)
"""After these a stored job is painted another time."""


@dataclass(slots=True)
class Tally:
    """One request's counts so far; `seconds` is the time to its last picture, None until then."""

    begun: float
    clock: Callable[[], float]
    pictures: int = 0
    seconds: float | None = None
    reused: bool = False
    images: list[str] = field(default_factory=list)

    def see(self, item: Item) -> None:
        """Count an item that the caller is about to get."""
        match item:
            case Accepted():
                self.reused = item.cache == "hit"
            case Presented():
                self.pictures += not self.reused
                self.images += [] if item.stored is None else [item.stored.id]
            case Done():
                self.seconds = self.clock() - self.begun
            case _:
                pass


@contextmanager
def tallied(
    arm: Arm | None,
    tenant: str,
    listener: Listener,
    *,
    stored: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Tally]:
    """Counts what the context sees, and tells of it at its end, however it ends.

    The end of a `stored` job's try says nothing where another one follows.
    """
    tally = Tally(clock(), clock)
    outcome: ArmOutcome | None = None
    try:
        yield tally
    except BaseException as error:
        outcome = None if stored and isinstance(error, NOT_NOW) else outcome_of(error)
        raise
    finally:
        if tally.seconds is not None:
            outcome = "reused" if tally.reused else "finished"
        if arm is not None and outcome is not None:
            seconds = None if tally.reused else tally.seconds
            listener(ArmEnded(arm, outcome, tally.pictures, seconds, tenant, tuple(tally.images)))


def outcome_of(error: BaseException) -> ArmOutcome:
    """A BaseException that is no Exception means that the caller went away."""
    if isinstance(error, Refusal | Busy):
        return "refused"
    return "failed" if isinstance(error, Exception) and not isinstance(error, Cancelled) else "cancelled"
