"""Takes a picture, judges it by a network's score: a few pictures at a time, each within a time limit."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from PIL import Image

from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.safety import Verdict
from sdxl_gateway.safety.failure import JudgeFailed

SEXUAL = "sexual"
"""The category of this judge's findings, by OpenAI's name."""


class Run(Protocol):
    """One run of a network, for one picture."""

    def score(self, image: Image.Image) -> float:
        """From 0 for a harmless picture to 1; may raise any exception."""

    def stop(self) -> None:
        """Ends `score` early, from any thread."""


class PictureNet(Protocol):
    """A network that scores pictures, several concurrently."""

    def run(self) -> Run:
        """For one picture."""


class PictureJudge:
    """Judges `at_once` pictures concurrently, each within `seconds`, which includes waiting for its turn."""

    def __init__(self, net: PictureNet, *, at_once: int, seconds: float) -> None:
        self._net = net
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(at_once, "judging")

    async def judge(self, picture: Picture, threshold: float) -> Verdict:
        """Raises JudgeFailed. Cancelling stops the network, without waiting for that."""
        score = await self._score(picture)
        return Verdict((SEXUAL,) if score >= threshold else (), {SEXUAL: score})

    async def _score(self, picture: Picture) -> float:
        run = self._net.run()
        job = self._threads.submit(_scored, picture, run)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(job)
        except TimeoutError:
            raise JudgeFailed("late", f"it took longer than {self._seconds:g} s") from None
        finally:
            _end(job, run)


def _scored(picture: Picture, run: Run) -> float:
    try:
        score = run.score(Image.frombytes(picture.mode, (picture.width, picture.height), picture.pixels))
    except Exception as error:
        raise JudgeFailed("failed", repr(error)) from error
    if not 0.0 <= score <= 1.0:
        raise JudgeFailed("failed", f"its score {score} is not between 0 and 1")
    return score


def _end(job: Future[float], run: Run) -> None:
    """Cancel or stop it. A network stops after its current operator; until then it occupies only its own thread."""
    if not job.cancel() and not job.done():
        run.stop()
