"""Takes a digest of a recipe, gives the files that have it: what the settings name, as it lies there now.

A file may be replaced under its name at any time. What is on the device stays what it was; what is read has to be what
the recipe means, all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sdxl_gateway.core.errors import CheckpointProblem, Unavailable

T = TypeVar("T")


class Entry(Protocol):
    """What a catalogue knows of files."""

    @property
    def digest(self) -> str:
        """Of their content."""


EntryT = TypeVar("EntryT", bound=Entry)


@dataclass(frozen=True, slots=True)
class ByDigest(Generic[EntryT]):
    """`openers` open the files of each section of one kind; `called` is what a caller is told of them."""

    openers: Iterable[Callable[[], EntryT]]
    called: str

    @property
    def digests(self) -> tuple[str, ...]:
        """Of those that can be used now."""
        return tuple(dict.fromkeys(entry.digest for entry in self._opened()))

    def of(self, digest: str) -> EntryT:
        """Raises Unavailable where no file has that digest any more."""
        found = next((entry for entry in self._opened() if entry.digest == digest), None)
        if found is None:
            raise Unavailable(f"The {self.called} of this picture was changed meanwhile; ask again.")
        return found

    def read(self, digest: str, read: Callable[[EntryT], T]) -> T:
        """What `read` makes of the files. Raises Unavailable where they are not the same before and after."""
        try:
            made = read(self.of(digest))
        except (CheckpointProblem, OSError):
            self.of(digest)
            raise
        self.of(digest)
        return made

    def _opened(self) -> Iterator[EntryT]:
        for open_it in self.openers:
            with suppress(CheckpointProblem, OSError):
                yield open_it()
