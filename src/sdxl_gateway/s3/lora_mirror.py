"""Takes the names in a bucket, brings the LoRA folder in line: what is new is fetched, what was withdrawn goes."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.copies import IncomingCopy, store_path
from sdxl_gateway.catalog.lora_folder.scan import Problem
from sdxl_gateway.catalog.lora_folder.upload import put_file, remove_source, upload_path
from sdxl_gateway.config import Loras
from sdxl_gateway.core.errors import AdapterRefused, Gone, Refusal
from sdxl_gateway.core.files import write_whole
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.lora_registry import LoraRegistry, file_key

log = logging.getLogger(__name__)

RECORD = "shared-loras.json"
LOOK_SECONDS = 60.0
"""Between two looks at all names although nobody said that anything changed."""
SWEEP_SECONDS = 3600.0
TAKEN = "Another file of that name lies in this server's LoRA folder, and the shared one is not used here."
LIES = "The file in the bucket is not the one that was put there: its sha256 is another."
MISSING = "The file is missing from the bucket."


class LoraMirror:
    """The shared LoRAs in one folder; which they are is remembered, and what else lies there is never touched.

    `problems` are what could not be taken over, and why. All of it blocks; one thread at a time looks, and so each file
    is fetched once.
    """

    def __init__(
        self, bucket: Bucket, limits: Loras, data_directory: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self.registry = LoraRegistry(bucket)
        self.problems: tuple[Problem, ...] = ()
        self._bucket = bucket
        self._limits = limits
        self._data_directory = data_directory
        self._record = self._read_record()
        self._recording = threading.Lock()
        self._busy: set[str] = set()
        self._clock = clock
        self._stamp: bytes | None = None
        self._next_look = self._next_sweep = 0.0

    def follow(self) -> bool:
        """Takes over what changed, if anything did; whether the folder, or a problem, is another now.

        Raises Unavailable, and the next time it looks at all.
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
        """The next time, whether anybody said that something changed or not."""
        self._next_look = 0.0

    def _sweep(self, now: float) -> None:
        if now >= self._next_sweep:
            self.registry.sweep(now)
            self._next_sweep = now + SWEEP_SECONDS

    def _look(self) -> bool:
        before, busy, problems = dict(self._record), set(self._busy), list[Problem]()
        wanted = self.registry.names()
        changed = [self._drop(name) for name in before.keys() - wanted.keys() - busy]
        for name, digest in wanted.items():
            if name in busy | self._busy or self._record.get(name) != before.get(name) or self._has(name, digest):
                continue  # whoever is changing it, or did since the names were told, has seen to it
            try:
                self._fetch(name, digest)
                changed.append(True)
            except (Refusal, OSError) as problem:
                problems.append(_problem(name, problem))
        self.problems = tuple(problems)
        return any(changed)

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Nothing is done about that name meanwhile."""
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)

    def note(self, name: str, digest: str | None) -> None:
        """The folder has that file by this name now, or none any more."""
        with self._recording:
            others = {key: kept for key, kept in self._record.items() if key != name}
            self._record = others if digest is None else others | {name: digest}
            self._data_directory.mkdir(parents=True, exist_ok=True)
            write_whole(self._data_directory / RECORD, [json.dumps(self._record).encode()], 0o600)

    def is_shared(self, name: str) -> bool:
        """It came from the bucket, or went there."""
        return name in self._record

    def _has(self, name: str, digest: str) -> bool:
        return self._record.get(name) == digest and self._path(name).exists()

    def _path(self, name: str) -> Path:
        return upload_path(self._limits.directory, name)

    def _drop(self, name: str) -> bool:
        remove_source(self._path(name))
        self.note(name, None)
        return True

    def _fetch(self, name: str, digest: str) -> None:
        """Whole, and verified by its sha256 before it comes into the folder. Raises AdapterRefused, InvalidRequest."""
        target = self._path(name)
        if not self.is_shared(name) and target.exists():
            raise AdapterRefused(TAKEN)
        copy = store_path(self._data_directory, digest)
        if not copy.exists():
            self._copy(digest)
        put_file(self._limits.directory, copy, target, replace=True)
        self.note(name, digest)

    def _copy(self, digest: str) -> None:
        """The file into the store of copies, under its sha256."""
        with IncomingCopy(self._data_directory) as copy:
            for piece in self._bucket.pieces(file_key(digest)):
                copy.write(piece)
                if copy.size_bytes > self._limits.max_file_bytes:
                    raise AdapterRefused(f"The file is larger than {self._limits.max_file_bytes} bytes.")
            if copy.digest != digest:
                raise AdapterRefused(LIES)
            copy.keep()

    def _read_record(self) -> dict[str, str]:
        try:
            read = json.loads((self._data_directory / RECORD).read_text("utf-8"))
            return {str(name): str(digest) for name, digest in read.items()}
        except (OSError, ValueError, AttributeError):
            return {}


def _problem(name: str, problem: Refusal | OSError) -> Problem:
    if isinstance(problem, Gone):
        told = MISSING
    else:
        told = problem.message if isinstance(problem, Refusal) else "The disk cannot take the file."
    log.warning("the shared LoRA %s is not used: %s", name, told)
    return Problem(name, told, f"s3:{name}")
