"""Takes a digest from a recipe, gives the files with that content among those that the settings name.

A file may be replaced under its name at any time. A model on the device does not change with it, but one that is read
must have the recipe's digest, before and after reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sdxl_gateway.core.errors import CheckpointProblem, Unavailable

T = TypeVar("T")


class Entry(Protocol):
    """A catalogue's entry for some files."""

    @property
    def digest(self) -> str:
        """Of the files' content."""


EntryT = TypeVar("EntryT", bound=Entry)


@dataclass(frozen=True, slots=True)
class ByDigest(Generic[EntryT]):
    """`openers` open the files of each section of one kind; `called` is the kind's name in messages."""

    openers: Iterable[Callable[[], EntryT]]
    called: str

    @property
    def digests(self) -> tuple[str, ...]:
        """Those of files that can be used now."""
        return tuple(dict.fromkeys(entry.digest for entry in self._entries()))

    def of(self, digest: str) -> EntryT:
        """The entry. Raises Unavailable if no file has that digest any more."""
        entry = next((entry for entry in self._entries() if entry.digest == digest), None)
        if entry is None:
            raise Unavailable(f"The {self.called} of this picture was changed meanwhile; ask again.")
        return entry

    def read(self, digest: str, read: Callable[[EntryT], T]) -> T:
        """The result of `read`. Raises Unavailable if the files change meanwhile."""
        try:
            result = read(self.of(digest))
        except (CheckpointProblem, OSError):
            self.of(digest)
            raise
        self.of(digest)
        return result

    def _entries(self) -> Iterator[EntryT]:
        for open_it in self.openers:
            with suppress(CheckpointProblem, OSError):
                yield open_it()
