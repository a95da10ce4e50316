"""An S3 bucket; the only file that knows obstore."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from sdxl_gateway.config import S3
from sdxl_gateway.core.errors import Gone, StartProblem, Unavailable

log = logging.getLogger(__name__)

PART_BYTES = 8 * 2**20
"""Larger objects are sent and fetched in parts of this size, each a request with its own timeout and retries."""
PARTS_AT_ONCE = 4
CONNECT_SECONDS = 3.0
MOST_RETRIES = 3
MOST_DELETED = 1000
PAUSE_SECONDS = 5.0
"""After a failure the store is not asked for so long, as threads that wait for it are missing elsewhere."""
LONGEST_SIGNED_SECONDS = 7 * 86400.0
"""The longest validity that S3 signs."""
_REFUSED = re.compile(r"status code: [34]")
"""The bucket is in another region, does not exist, or needs other credentials; the library has no errors for these."""
DOWN = "The object store does not answer; try again."


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing; `changed` is unix seconds."""

    key: str
    size_bytes: int
    changed: float
    etag: str


class Bucket:
    """The objects below one prefix of a bucket. All methods block; `sign` only when it needs new credentials.

    Each method raises Unavailable if the store refuses or does not answer in time, retries included, and, except
    `sign`, which sends no request, for PAUSE_SECONDS after that.
    """

    def __init__(self, section: S3, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = _store(section, section.endpoint)
        self._signing = _store(section, section.public_endpoint or section.endpoint)
        self._clock = clock
        self._paused_until = 0.0

    def check(self) -> None:
        """Raises StartProblem if the store refuses the settings; if it does not answer, a warning is logged."""
        try:
            next(iter(obstore.list(self._store, chunk_size=1)), None)
        except (BaseError, OSError) as problem:
            if _REFUSED.search(str(problem)):
                raise StartProblem(f"s3: the bucket cannot be used: {_short(problem)}") from problem
            log.warning("the object store does not answer yet: %s", _short(problem))

    def put(self, key: str, data: bytes | Path, attributes: Mapping[str, str] | None = None) -> None:
        """Store the object, whole or not at all; `attributes` are its headers and metadata."""
        with self._asked(), _nothing_is_gone():
            obstore.put(
                self._store,
                key,
                data,
                attributes=dict(attributes or {}),
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    def read(self, key: str) -> bytes:
        """The object's bytes. Raises Gone."""
        return b"".join(self.pieces(key))

    def pieces(self, key: str) -> Iterator[bytes]:
        """The object's bytes, PART_BYTES at a time; the first part is requested at once. Raises Gone."""
        with self._asked():
            found = obstore.get(self._store, key)
            size = int(found.meta["size"])
            if size <= PART_BYTES:
                return iter([bytes(found.bytes())])
        return self.ranges(key, 0, size)

    def ranges(self, key: str, start: int, size_bytes: int) -> Iterator[bytes]:
        """The bytes of an object of that size from `start` on, PART_BYTES at a time. Raises Gone."""
        for at in range(start, size_bytes, PART_BYTES):
            with self._asked():
                yield bytes(obstore.get_range(self._store, key, start=at, end=min(at + PART_BYTES, size_bytes)))

    def parts(self, key: str, places: Sequence[range]) -> list[bytes]:
        """These ranges of the object, requested together. Raises Gone, and Unavailable if it is shorter."""
        with self._asked():
            starts, ends = [place.start for place in places], [place.stop for place in places]
            return [bytes(part) for part in obstore.get_ranges(self._store, key, starts=starts, ends=ends)]

    def attributes(self, key: str) -> dict[str, str]:
        """The object's headers and metadata. Raises Gone."""
        with self._asked():
            found = obstore.get(self._store, key, options={"head": True})
            return {str(name): str(value) for name, value in found.attributes.items()}

    def delete(self, *keys: str) -> None:
        """Delete these objects; those that do not exist are ignored."""
        for at in range(0, len(keys), MOST_DELETED):
            with self._asked():
                obstore.delete(self._store, list(keys[at : at + MOST_DELETED]))

    def entries(self, folder: str) -> Iterator[Entry]:
        """All objects below that folder, which consists of whole parts of a key."""
        with self._asked():
            for some in obstore.list(self._store, prefix=folder, chunk_size=MOST_DELETED):
                for one in some:
                    changed = float(one["last_modified"].timestamp())
                    yield Entry(str(one["path"]), int(one["size"]), changed, str(one["e_tag"]))

    def sign(self, key: str, seconds: float) -> str:
        """A presigned address of the object, valid for a week at most."""
        lasting = timedelta(seconds=max(1, int(min(seconds, LONGEST_SIGNED_SECONDS))))
        try:
            return str(obstore.sign(self._signing, "GET", key, lasting))
        except (BaseError, OSError) as problem:
            raise Unavailable("The server has no credentials to sign with; try again.") from problem

    @contextmanager
    def _asked(self) -> Iterator[None]:
        if self._clock() < self._paused_until:
            raise Unavailable(DOWN, retry_after_seconds=PAUSE_SECONDS)
        try:
            yield
        except FileNotFoundError as problem:
            raise Gone("What was kept here is gone.") from problem
        except (BaseError, OSError) as problem:
            log.warning("the object store failed: %s", _short(problem))
            self._paused_until = self._clock() + PAUSE_SECONDS
            raise Unavailable(DOWN, retry_after_seconds=PAUSE_SECONDS) from problem


def _store(section: S3, endpoint: str) -> S3Store:
    config: Any = {"region": section.region} | ({"endpoint": endpoint} if endpoint else {})
    return S3Store(
        section.bucket,
        prefix=section.prefix or None,
        config=config,
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=section.timeout_seconds),
        },
        retry_config={"max_retries": MOST_RETRIES, "retry_timeout": timedelta(seconds=section.retry_seconds)},
    )


@contextmanager
def _nothing_is_gone() -> Iterator[None]:
    """A bucket that is not there cannot take anything."""
    try:
        yield
    except FileNotFoundError as problem:
        raise OSError(str(problem)) from problem


def _short(problem: Exception) -> str:
    """The message up to the store's XML; the lines behind it only show internals of the library."""
    return str(problem).partition("\n")[0].partition(": <?xml")[0]
