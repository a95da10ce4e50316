"""Takes what a watched folder offers and what it cannot, gives log lines of what is not as it was at the last look."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

log = logging.getLogger(__name__)

MAX_NAMES = 20
"""So many stand in one line; a library that is copied in has thousands."""


class Unusable(Protocol):
    """A file of the folder that is no model, or a side-car that is not wholly used."""

    @property
    def file(self) -> str: ...
    @property
    def message(self) -> str: ...


class FolderLog:
    """Of the folder that is `called` so. What is there at the first look is no news, but what cannot be used is."""

    def __init__(self, called: str) -> None:
        self._called = called
        self._offered: Mapping[str, object] | None = None
        self._unusable: frozenset[tuple[str, str]] = frozenset()

    def tell(self, offered: Mapping[str, object], unusable: Iterable[Unusable]) -> None:
        """`offered` has by each name what is other once its files are."""
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
