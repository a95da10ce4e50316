"""Takes a finished picture, gives its alpha: one picture at a time, on a thread of its own, within a time limit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from sdxl_gateway.core.errors import DeadlineExceeded, EngineFault
from sdxl_gateway.core.events import MatteEnded, MatteOutcome
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.threads import finished
from sdxl_gateway.matting.net import MatteNet
from sdxl_gateway.nets.session import Stop
from sdxl_gateway.pictures.pixels import from_image, to_image

log = logging.getLogger(__name__)

TOO_LONG = "The picture was painted, but telling its subject from its background took too long."
FAILED = "The picture was painted, but its subject could not be told from its background."


class OnnxMatte:
    """A core Matte from the file at `path`; `seconds` is the limit for one picture, without waiting for its turn.

    `tell` is told how each run ended.
    """

    def __init__(
        self, net: MatteNet, path: Path, seconds: float, tell: Callable[[MatteEnded], None] = lambda ended: None
    ) -> None:
        """Raises OSError."""
        self._path = path
        self._identity = _identity(path)
        self.digest = _digest(path)
        self._net = net
        self._seconds = seconds
        self._tell = tell
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "matting")

    @property
    def replaced(self) -> bool:
        """The file has been replaced or removed since."""
        try:
            return _identity(self._path) != self._identity
        except OSError:
            return True

    async def alpha(self, picture: Picture) -> Picture:
        """Mode L, of the picture's size. Raises DeadlineExceeded, EngineFault."""
        async with self._turn:
            with self._measured():
                async with asyncio.timeout(self._seconds):
                    return await self._run(picture)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """Tells of the run at the end of the context."""
        began = time.monotonic()
        outcome: MatteOutcome = "cancelled"
        try:
            yield
            outcome = "made"
        except TimeoutError as error:
            outcome = "late"
            raise DeadlineExceeded(TOO_LONG) from error
        except EngineFault:
            outcome = "failed"
            raise
        finally:
            self._tell(MatteEnded(outcome, time.monotonic() - began))

    async def _run(self, picture: Picture) -> Picture:
        """Cancelling stops the model, and waits until it has stopped."""
        stop = Stop()
        try:
            return await finished(self._thread.submit(self._alpha, picture, stop), stop.now)
        except Exception as error:
            log.exception("the matte model failed")
            raise EngineFault(FAILED, code="matte_failed") from error

    def _alpha(self, picture: Picture, stop: Stop) -> Picture:
        return from_image(self._net.alpha(to_image(picture), stop))


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
