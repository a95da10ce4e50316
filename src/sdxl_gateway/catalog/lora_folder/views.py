"""A cache of what was made for sets of globs, with a bounded total size."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Generic, TypeVar

MOST_ENTRIES = 100_000
"""The most entries of all views together, some hundred bytes each; views with few entries cost little."""

Globs = tuple[str, ...]
T = TypeVar("T")


class Views(Generic[T]):
    """What callers with certain globs may see; the least recently used views are dropped first."""

    def __init__(self, entries_of: Callable[[T], Sized], most_entries: int = MOST_ENTRIES) -> None:
        self._entries_of = entries_of
        self._most_entries = most_entries
        self._views: dict[Globs, T] = {}

    def of(self, globs: Globs, make: Callable[[Globs], T]) -> T:
        """The view of these globs, made if it is not in the cache."""
        made = self._views.pop(globs, None)
        view = make(globs) if made is None else made
        self._views[globs] = view
        if made is None:
            self._make_room()
        return view

    def _make_room(self) -> None:
        while len(self._views) > 1 and self._entries > self._most_entries:
            self._views.pop(next(iter(self._views)))

    @property
    def _entries(self) -> int:
        return sum(1 + len(self._entries_of(view)) for view in self._views.values())
