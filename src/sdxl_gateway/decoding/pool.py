"""Takes uploads, gives their pixels, decoded in a few processes; one whose picture costs too much is replaced."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from PIL import Image

from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidImage, Unavailable
from sdxl_gateway.core.events import DecoderLost
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.threads import finished
from sdxl_gateway.decoding.memory import images
from sdxl_gateway.decoding.messages import (
    Answer,
    DecodeMask,
    DecodePicture,
    Measure,
    Measured,
    Message,
    Planes,
    Question,
    ReadWritten,
    Refused,
    Told,
)
from sdxl_gateway.decoding.process import DecoderProcess, Lost
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.pictures.decode import Decoded
from sdxl_gateway.pictures.written import Written, recipe_in

log = logging.getLogger(__name__)

PROCESSES = 3
"""Two of the largest pictures may be in flight at once; the third process serves small ones meanwhile."""
REASONS = {"late": "it takes too long to decode", "died": "it cannot be decoded"}


class Decoders:
    """A pool of processes, each started when first needed, with a thread of its own; `tell` is told of those lost."""

    def __init__(self, limits: Limits, tell: Callable[[DecoderLost], None] = lambda lost: None) -> None:
        self._limits = limits
        self._tell = tell
        # A process's parent-death signal is sent when the thread that started it ends: these live as long as the pool.
        self._threads = ThreadPoolExecutor(PROCESSES, "decoding")
        self._idle: list[DecoderProcess] = []
        self._living: set[DecoderProcess] = set()
        weakref.finalize(self, _end_all, self._living)

    @property
    def pids(self) -> list[int]:
        """Those of the processes that exist now."""
        return [process.pid for process in tuple(self._living)]

    def close(self) -> None:
        """End all processes; callers waiting for one are told that it died. Another upload would start one again."""
        for process in tuple(self._living):
            process.kill()
        while self._idle:
            self._discard(self._idle.pop())

    async def measure(self, upload: Upload) -> int:
        """The number of pixels to decode, 0 for an upload that will be refused. Raises InvalidImage."""
        answer, _ = await self._ask(Measure(upload.field), upload)
        return answer.pixels if isinstance(answer, Measured) else 0

    async def picture(self, upload: Upload) -> Image.Image:
        """Its colours, RGB. Raises InvalidImage naming the field."""
        return (await self._planes(DecodePicture(upload.field, holes=False), upload))[0]

    async def with_holes(self, upload: Upload) -> Decoded:
        """Its colours, and a mask of its transparency if it has any. Raises InvalidImage naming the field."""
        image, *holes = await self._planes(DecodePicture(upload.field, holes=True), upload)
        return Decoded(image, holes[0] if holes else None)

    async def mask(self, upload: Upload, size: Size) -> Image.Image:
        """A mask of its transparency, L. Raises InvalidImage naming the field, also if it is not of `size`."""
        return (await self._planes(DecodeMask(upload.field, *size), upload))[0]

    async def written(self, upload: Upload) -> Written | None:
        """The file's metadata about how the picture was made, if any. Raises InvalidImage naming the field."""
        answer, _ = await self._accepted(ReadWritten(upload.field), upload)
        if not isinstance(answer, Told) or answer == Told("", ""):
            return None
        return Written(answer.parameters, recipe_in(answer.recipe))

    async def _planes(self, question: Question, upload: Upload) -> list[Image.Image]:
        return (await self._accepted(question, upload))[1]

    async def _accepted(self, question: Question, upload: Upload) -> tuple[Answer, list[Image.Image]]:
        answer, planes = await self._ask(question, upload)
        if isinstance(answer, Refused):
            raise answer.error
        return answer, planes

    async def _ask(self, question: Question, upload: Upload) -> tuple[Answer, list[Image.Image]]:
        hold = _Hold()
        try:
            return await finished(self._threads.submit(self._answer, hold, question, upload.data), hold.abandon)
        except Lost as lost:
            log.warning("a decoding process was lost (%s) over a picture in '%s'", lost.reason, upload.field)
            self._tell(DecoderLost(lost.reason))
            message = f"Invalid image file for '{upload.field}': {REASONS[lost.reason]}."
            raise InvalidImage(message, param=upload.field) from lost

    def _answer(self, hold: _Hold, question: Question, data: bytes) -> tuple[Answer, list[Image.Image]]:
        """On a thread of the pool. Raises Lost, Unavailable."""
        process = self._ready_process()
        hold.begin(process)
        try:
            answer = _unpacked(*process.ask(question, data), self._limits.max_input_pixels)
        except BaseException:
            hold.end()
            self._discard(process)
            raise
        if hold.end() and not process.worn:
            self._idle.append(process)
        else:
            self._discard(process)
        return answer

    def _ready_process(self) -> DecoderProcess:
        """The idle one used last, whose memory is warm, or a new one; discards those that ended while idle."""
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            self._discard(process)
        return self._start()

    def _start(self) -> DecoderProcess:
        try:
            process = DecoderProcess(self._limits)
        except OSError as problem:
            raise _unavailable(problem) from problem
        self._living.add(process)
        try:
            process.wait()
        except Lost as problem:
            self._discard(process)
            raise _unavailable(problem) from problem
        log.info("decoding process %d started", process.pid)
        return process

    def _discard(self, process: DecoderProcess) -> None:
        self._living.discard(process)
        log.info("decoding process %d ended: status %d", process.pid, process.end())


class _Hold:
    """A caller's claim to the process working for it: begun and ended on a thread, abandoned on the event loop."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: DecoderProcess | None = None
        self._abandoned = False

    def begin(self, process: DecoderProcess) -> None:
        with self._lock:
            self._process = process
            if self._abandoned:
                process.kill()

    def abandon(self) -> None:
        """Kill the process, but only while it works for this caller."""
        with self._lock:
            self._abandoned = True
            if self._process is not None:
                self._process.kill()

    def end(self) -> bool:
        """End the claim; gives whether the process can be used again, not having been killed."""
        with self._lock:
            self._process = None
            return not self._abandoned


def _unpacked(answer: Message, memory: int | None, max_pixels: int) -> tuple[Answer, list[Image.Image]]:
    """The answer and its images. Raises Lost for an answer that only a compromised or broken process gives."""
    try:
        match answer:
            case Measured() | Told() | Refused():
                return answer, []
            case Planes(width, height) if memory is not None and 0 < width * height <= max_pixels:
                return answer, images(memory, answer)
            case _:
                raise Malformed("not an answer")
    except Malformed as problem:
        raise Lost("died") from problem
    finally:
        if memory is not None:
            os.close(memory)


def _unavailable(problem: Exception) -> Unavailable:
    log.error("no decoding process can be started: %s", problem)
    return Unavailable("Pictures cannot be read now.")


def _end_all(living: set[DecoderProcess]) -> None:
    for process in living:
        process.end()
