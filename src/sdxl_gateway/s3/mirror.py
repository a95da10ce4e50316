"""Synchronizes a server's own folder with the names in a bucket: fetches new files, and removes withdrawn ones."""

from __future__ import annotations

import json
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sdxl_gateway.core.errors import CheckpointProblem, Gone, Refusal
from sdxl_gateway.core.files import write_whole
from sdxl_gateway.s3.registry import Registry

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""How often all names are listed, even if no change was announced."""
SWEEP_SECONDS = 3600.0
LIES = "The file in the bucket is not the one that was put there: its sha256 is another."
MISSING = "The file is missing from the bucket."


class Mirror(ABC):
    """The files of a registry, in one folder; they are recorded, and other files in the folder are never touched.

    `problems` tells why files could not be used, by name. All methods block; only one thread may call `follow`, so that
    each file is fetched once.
    """

    def __init__(self, registry: Registry, data_directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.registry = registry
        self.problems: Mapping[str, str] = {}
        self._data_directory = data_directory
        self._record_file = data_directory / f"shared-{registry.folder}.json"
        self._record = self._read_record()
        self._recording = threading.Lock()
        self._busy: set[str] = set()
        self._clock = clock
        self._stamp: bytes | None = None
        self._next_look = self._next_sweep = 0.0

    @abstractmethod
    def _has(self, name: str, digest: str) -> bool:
        """Whether it is in the folder under that name."""

    @abstractmethod
    def _fetch(self, name: str, digest: str) -> None:
        """Fetch it into the folder, verified, and record that. Raises a Refusal, CheckpointProblem, Unavailable."""

    @abstractmethod
    def _drop(self, name: str) -> None:
        """Remove what was fetched under that name, and record that."""

    def follow(self) -> bool:
        """Synchronize if anything changed; whether the folder or the problems have changed.

        Raises Unavailable; the next call then lists all names.
        """
        stamp, now = self.registry.stamp(), self._clock()
        if stamp == self._stamp and now < self._next_look:
            return False
        self._stamp = None
        changed = self._look()
        self._stamp, self._next_look = stamp, now + LOOK_SECONDS
        self._sweep(now)
        return changed

    def look_again(self) -> None:
        """Have the next call of `follow` list all names, even if no change is announced."""
        self._next_look = 0.0

    def _sweep(self, now: float) -> None:
        if now >= self._next_sweep:
            self.registry.sweep(now)
            self._next_sweep = now + SWEEP_SECONDS

    def _look(self) -> bool:
        before, busy, problems, told = dict(self._record), set(self._busy), dict[str, str](), self.problems
        wanted = self.registry.names()
        gone = before.keys() - wanted.keys() - busy
        for name in gone:
            self._drop(name)
        new = [name for name, digest in wanted.items() if self._lacks(name, digest, before, busy)]
        for name in new:
            try:
                self._fetch(name, wanted[name])
            except (Refusal, CheckpointProblem, OSError) as problem:
                problems[name] = _told(name, problem)
        self.problems = problems
        return bool(gone) or len(new) > len(problems) or problems != told

    def _lacks(self, name: str, digest: str, before: Mapping[str, str], busy: set[str]) -> bool:
        """Whether it has to be fetched; not if its name is being changed, or was since the names were listed."""
        changed = name in busy | self._busy or self._record.get(name) != before.get(name)
        return not changed and not (self._record.get(name) == digest and self._has(name, digest))

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """A context in which `follow` leaves that name alone."""
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)

    def note(self, name: str, digest: str | None) -> None:
        """Record that the folder has that file under this name, or none any more."""
        with self._recording:
            others = {key: kept for key, kept in self._record.items() if key != name}
            self._record = others if digest is None else others | {name: digest}
            self._data_directory.mkdir(parents=True, exist_ok=True)
            write_whole(self._record_file, [json.dumps(self._record).encode()], 0o600)

    def is_shared(self, name: str) -> bool:
        """Whether it came from the bucket, or was added to it."""
        return name in self._record

    def _read_record(self) -> dict[str, str]:
        try:
            read = json.loads(self._record_file.read_text("utf-8"))
            return {str(name): str(digest) for name, digest in read.items()}
        except (OSError, ValueError, AttributeError):
            return {}


def _told(name: str, problem: Exception) -> str:
    told = "The disk cannot take the file."
    if isinstance(problem, Gone):
        told = MISSING
    elif isinstance(problem, Refusal):
        told = problem.message
    elif isinstance(problem, CheckpointProblem):
        told = str(problem)
    log.warning("the shared model %s is not used: %s", name, told)
    return told
