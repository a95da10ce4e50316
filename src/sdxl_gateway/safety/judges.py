"""Takes texts and pictures, gives the verdict of all judges there are; one that fails finds something, or nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from sdxl_gateway.config import Safety
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.safety import CLEAN, UNJUDGED, UNSEEN, JudgeEnded, JudgeName, JudgeOutcome, Verdict, together
from sdxl_gateway.safety.failure import JudgeFailed
from sdxl_gateway.safety.picture_judge import PictureJudge

log = logging.getLogger(__name__)


class TextJudge(Protocol):
    """Tells whether texts hold what they should not."""

    async def judge(self, texts: Sequence[str]) -> Verdict:
        """Of all of them together. Raises JudgeFailed."""


class Judges:
    """Those that the settings name; without any, everything is clean. `tell` hears of each one's turn.

    Where `safety.failing` is "closed" a judge that fails finds `UNJUDGED`, where it is "open" it finds nothing; the log
    says which, and the metrics that it failed.
    """

    def __init__(
        self,
        section: Safety,
        texts: dict[JudgeName, TextJudge] | None = None,
        pictures: PictureJudge | None = None,
        tell: Callable[[JudgeEnded], None] = lambda ended: None,
    ) -> None:
        self._section = section
        self._texts = texts or {}
        self.pictures = pictures
        self._tell = tell

    @property
    def of_texts(self) -> bool:
        """Texts are judged at all."""
        return bool(self._texts)

    @property
    def of_pictures(self) -> bool:
        """Pictures are judged at all."""
        return self.pictures is not None

    @property
    def closed(self) -> bool:
        """Whatever could not be judged counts as found guilty."""
        return self._section.failing == "closed"

    async def texts(self, texts: Sequence[str]) -> Verdict:
        """Of all of them, by every judge of texts at once."""
        asked = (self._turn(name, judge.judge(texts)) for name, judge in self._texts.items())
        return together(await asyncio.gather(*asked))

    async def picture(self, picture: Picture) -> Verdict:
        """Of one that leaves, or came."""
        if self.pictures is None:
            return CLEAN
        return await self._turn("pictures", self.pictures.judge(picture, self._section.threshold))

    async def _turn(self, name: JudgeName, asked: Awaitable[Verdict]) -> Verdict:
        try:
            with self._told(name) as outcome:
                verdict = await asked
                outcome.append("found" if verdict.found else "clean")
                return verdict
        except Exception as problem:
            return self._failed(name, problem)

    @contextmanager
    def _told(self, name: JudgeName) -> Iterator[list[JudgeOutcome]]:
        began = time.monotonic()
        outcome: list[JudgeOutcome] = []
        try:
            yield outcome
        except Exception as problem:
            outcome.append(problem.outcome if isinstance(problem, JudgeFailed) else "failed")
            raise
        finally:
            self._tell(JudgeEnded(name, outcome[0] if outcome else "cancelled", time.monotonic() - began))

    def _failed(self, name: JudgeName, problem: Exception) -> Verdict:
        """Whatever it is, it never passes for a judgement."""
        known = isinstance(problem, JudgeFailed)
        what = "what it was asked about is held back" if self.closed else "what it was asked about passes"
        log.error("the judge of %s failed, %s: %s", name, what, problem, exc_info=None if known else problem)
        return Verdict((UNJUDGED,), whole=False) if self.closed else UNSEEN
