"""Drops events that a job's follower had before, which a second engine repeats after the first was lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdxl_gateway.core.events import JobEvent, Painted, Previewed, Progressed, Started


@dataclass(slots=True)
class Told:
    """The events that a job's follower has had. Pictures are the same on every engine, so the first event counts."""

    _steps: dict[int, int] = field(default_factory=dict)
    _others: set[object] = field(default_factory=set)

    def is_news(self, event: JobEvent) -> bool:
        """Whether the event was not sent before; it counts as sent from now on."""
        match event:
            case Progressed(index=index, step=step):
                before, self._steps[index] = self._steps.get(index, 0), max(step, self._steps.get(index, 0))
                return step > before
            case Started():
                return self._first("started")
            case Previewed(index=index, partial_index=partial_index):
                return self._first((index, partial_index))
            case Painted(index=index):
                return self._first(index)
            case _:
                return True

    def _first(self, what: object) -> bool:
        new = what not in self._others
        self._others.add(what)
        return new
