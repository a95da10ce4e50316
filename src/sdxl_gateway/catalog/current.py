"""Keeps what sections of the settings name up to date with its files, which may be replaced at any time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from sdxl_gateway.core.errors import CheckpointProblem

EntryT = TypeVar("EntryT")
Marks = tuple[tuple[int, int, int] | None, ...]
"""(size, mtime in ns, inode) of each file, None of one that is not there."""

TICK_SECONDS = 0.1
"""Timestamps have ticks: a file that changed less than this ago may change again with the same mark."""


class Current(Mapping[str, EntryT], Generic[EntryT]):
    """Entries by name. `openers` open the sections' files, all at once here; `files` lists the files of an entry.

    If a changed entry cannot be opened any more, the previous one stays: an engine may have it loaded, and otherwise
    refuses it. `on_change` is called with each new entry. Raises what an opener raises.
    """

    def __init__(
        self,
        openers: Mapping[str, Callable[[], EntryT]],
        files: Callable[[EntryT], Iterable[Path]],
        on_change: Callable[[EntryT], None] = lambda _: None,
    ) -> None:
        self._openers = openers
        self._files = files
        self._on_change = on_change
        self._entries = {name: open_it() for name, open_it in openers.items()}
        self._marks: dict[str, Marks | None] = dict.fromkeys(openers)
        self._lock = Lock()

    def __getitem__(self, name: str) -> EntryT:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def refresh(self) -> None:
        """Open entries again whose files have changed; from any thread."""
        with self._lock:
            for name, before in self._entries.items():
                marks = _marks(self._files(before))
                if marks != self._marks[name]:
                    self._look(name, before, marks)

    def _look(self, name: str, before: EntryT, marks: Marks) -> None:
        try:
            entry = self._openers[name]()
        except (CheckpointProblem, OSError):
            return
        self._marks[name] = marks if _settled(marks) else None
        if entry != before:
            self._entries = {**self._entries, name: entry}
            self._on_change(entry)


def _marks(files: Iterable[Path]) -> Marks:
    return tuple(_mark(path) for path in files)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _settled(marks: Marks) -> bool:
    newest_ns = max((mark[1] for mark in marks if mark is not None), default=0)
    return abs(time.time_ns() - newest_ns) > TICK_SECONDS * 1e9
