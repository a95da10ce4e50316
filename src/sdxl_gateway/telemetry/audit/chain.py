"""The audit folder's chain: files by day and size, and a head by which a truncation is noticed.

Several processes may append to one folder, each batch under the folder's lock.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sdxl_gateway.config import Settings
from sdxl_gateway.core.files import write_whole
from sdxl_gateway.telemetry.audit.line import START, BrokenLine, Link, Record, read, written

HEAD_NAME = "head.json"
LOCK_NAME = "lock"
PATTERN = "*.jsonl"
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain, and its beginning: after `start`, which retention may have moved."""

    last: Link = START
    start: Link = START


class Chain:
    """The chain in one folder, which is created if necessary. All methods block: call them from a thread."""

    def __init__(self, directory: Path, max_file_bytes: int = 64 * 2**20) -> None:
        self.directory = directory
        self._max_file_bytes = max_file_bytes
        self._seen: tuple[Path, int, Link] | None = None

    def files(self) -> list[Path]:
        """The files in the order of the chain; their names are the number of the first line, and the day."""
        return sorted(self.directory.glob(PATTERN))

    def head(self) -> Head:
        """The head as it was last written; the start of the chain if there is none."""
        try:
            told = json.loads((self.directory / HEAD_NAME).read_text("utf-8"))
            return Head(Link(**told["last"]), Link(**told["start"]))
        except FileNotFoundError:
            return Head()

    def append(self, records: Sequence[Record], *, sync: bool) -> None:
        """Append all lines, or none if the disk raises OSError; with `sync` they are on the disk when this returns."""
        with self._held():
            last = self._last()
            path = self._file_for(last, records[0].at)
            lines: list[bytes] = []
            for record in records:
                line, last = written(record, last)
                lines.append(line)
            size = _append(path, b"".join(lines), sync)
            self._write_head(Head(last, self.head().start), sync)
            self._seen = (path, size, last)

    def sync(self) -> None:
        """Bring what was appended to the disk."""
        with self._held():
            for path in self.files()[-1:]:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            self._write_head(self.head(), sync=True)

    def forget_before(self, unix_seconds: float) -> int:
        """Delete the files whose lines are all older, except the last file; how many lines that were.

        The chain stays intact: the head has the number and hash of the deleted line that the rest follows.
        """
        with self._held():
            start = self.head().start
            begin = start
            for path in [path for path in self.files()[:-1] if _ended(path) <= unix_seconds]:
                begin = _last_line(path) or begin
                self._write_head(Head(self.head().last, begin), sync=True)
                path.unlink()
            return begin.seq - start.seq

    def snapshot(self) -> tuple[Head, list[tuple[Path, int]]]:
        """The head, and the files with their sizes in bytes, consistent between two batches."""
        with self._held():
            return self.head(), [(path, path.stat().st_size) for path in self.files()]

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _last(self) -> Link:
        """The Link that the next line follows. A log shorter than its head says keeps its gap, for `verify`."""
        files = self.files()
        if files and self._seen is not None and self._seen[:2] == (files[-1], files[-1].stat().st_size):
            return self._seen[2]
        found = _whole_tail(files[-1]) if files else None
        return max((link for link in (found, self.head().last) if link is not None), key=lambda link: link.seq)

    def _file_for(self, last: Link, at: float) -> Path:
        files, day = self.files(), datetime.fromtimestamp(at, UTC).date().isoformat()
        if files and files[-1].stem.endswith(day) and files[-1].stat().st_size < self._max_file_bytes:
            return files[-1]
        return self.directory / f"{last.seq + 1:012d}-{day}.jsonl"

    def _write_head(self, head: Head, sync: bool) -> None:
        path, text = self.directory / HEAD_NAME, json.dumps(asdict(head))
        if sync:
            write_whole(path, [text.encode()], 0o600)
            return
        beside = path.with_suffix(".new")
        beside.write_text(text, "utf-8")
        beside.replace(path)


def chain_in(settings: Settings) -> Chain:
    """The chain of a data directory."""
    return Chain(settings.data_directory / "audit", settings.audit.max_file_bytes)


def _append(path: Path, data: bytes, sync: bool) -> int:
    """Append to the file, or leave it as it was if the disk does not take everything; its new size."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    before = os.fstat(descriptor).st_size
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        if sync:
            os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise
    finally:
        os.close(descriptor)
    return before + len(data)


def _whole_tail(path: Path) -> Link | None:
    """The last line's Link; an incomplete line that a killed process left behind it is cut off."""
    size, tail = path.stat().st_size, _tail(path)
    torn = len(tail) - (tail.rfind(b"\n") + 1)
    if torn:
        os.truncate(path, size - torn)
    return _last_line(path)


def _last_line(path: Path) -> Link | None:
    """The Link of the last line; None if there is none, or it is broken, which `verify` reports."""
    lines = _tail(path).splitlines()
    try:
        return read(lines[-1]).link if lines else None
    except BrokenLine:
        return None


def _tail(path: Path) -> bytes:
    """The end of the file, longer than any line."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        return file.read()


def _ended(path: Path) -> float:
    """The end of a file's day, in unix seconds."""
    day = datetime.fromisoformat(path.stem[13:]).replace(tzinfo=UTC)
    return (day + timedelta(days=1)).timestamp()
