"""Logs what has changed in a watched folder since the last scan."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

log = logging.getLogger(__name__)

MAX_NAMES = 20
"""The most names in one line; a library that is copied in has thousands."""


class Unusable(Protocol):
    """A file of the folder that cannot be used, or a side-car that can only be used in part."""

    @property
    def file(self) -> str: ...
    @property
    def message(self) -> str: ...


class FolderLog:
    """`called` is the folder's name in the log. Files of the first scan are not logged as new, but problems are."""

    def __init__(self, called: str) -> None:
        self._called = called
        self._offered: Mapping[str, object] | None = None
        self._unusable: frozenset[tuple[str, str]] = frozenset()

    def tell(self, offered: Mapping[str, object], unusable: Iterable[Unusable]) -> None:
        """`offered` maps each name to a value that changes with its files."""
        before = offered if self._offered is None else self._offered
        self._names("new", [name for name in offered if name not in before])
        self._names("replaced", [name for name in offered if before.get(name, offered[name]) != offered[name]])
        self._names("gone", [name for name in before if name not in offered])
        found = {(one.file, one.message): None for one in unusable}
        for file, message in found:
            if (file, message) not in self._unusable:
                log.warning("%s: %s: %s", self._called, file, message.removeprefix(f"{file.rpartition('/')[2]}: "))
        self._offered, self._unusable = dict(offered), frozenset(found)

    def _names(self, what: str, names: list[str]) -> None:
        if names:
            others = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            log.info("%s: %s: %s%s", self._called, what, ", ".join(sorted(names)[:MAX_NAMES]), others)
