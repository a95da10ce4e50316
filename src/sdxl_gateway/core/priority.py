"""Priority: the classes of jobs; a higher class is painted first."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """Lower runs first; a higher class waits at most one step for a lower one."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @classmethod
    def of(cls, word: str) -> Priority:
        """The class of that word, such as "low". Raises KeyError."""
        return cls[word.upper()]

    @property
    def word(self) -> str:
        """The class's word in requests, keys and replies."""
        return self.name.lower()


PRIORITY_WORDS = tuple(priority.word for priority in Priority)
