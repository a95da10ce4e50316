"""Takes a picture, tells whether a net finds it fit to be seen: a few at a time, and none for longer than it may."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from PIL import Image

from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.safety import Verdict
from sdxl_gateway.safety.failure import JudgeFailed

SEXUAL = "sexual"
"""The category of what this judge finds, as OpenAI calls it."""


class Run(Protocol):
    """One picture's turn of a net."""

    def score(self, image: Image.Image) -> float:
        """0 for a picture anybody may see, 1 for one that nobody may; any exception where there is no score."""

    def stop(self) -> None:
        """Ends it early, from any thread."""


class PictureNet(Protocol):
    """A net that scores pictures, several at once."""

    def run(self) -> Run:
        """For one picture."""


class PictureJudge:
    """`seconds` is what a picture may take, its waiting for one of `at_once` turns included."""

    def __init__(self, net: PictureNet, *, at_once: int, seconds: float) -> None:
        self._net = net
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(at_once, "judging")

    async def judge(self, picture: Picture, threshold: float) -> Verdict:
        """Raises JudgeFailed. Who goes away stops the net, and waits for nothing."""
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
        raise JudgeFailed("failed", f"its score is {score}")
    return score


def _end(job: Future[float], run: Run) -> None:
    """A net that hears of it ends within an operator; one that does not holds its own turn and nobody else's."""
    if not job.cancel() and not job.done():
        run.stop()
