"""Takes texts and pictures, gives the joint verdict of all judges; one that fails counts as a finding, or as none."""

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
    """Judges whether texts contain disallowed content."""

    async def judge(self, texts: Sequence[str]) -> Verdict:
        """One verdict on all texts. Raises JudgeFailed."""


class Judges:
    """The judges that the settings name; with none, everything is clean. `tell` is told of each judgement.

    A judge that fails finds `UNJUDGED` if `safety.failing` is "closed", and nothing if it is "open"; the failure is
    logged, and counted in the metrics.
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
        """There is a judge of texts."""
        return bool(self._texts)

    @property
    def of_pictures(self) -> bool:
        """There is a judge of pictures."""
        return self.pictures is not None

    @property
    def closed(self) -> bool:
        """What could not be judged is treated as disallowed."""
        return self._section.failing == "closed"

    async def texts(self, texts: Sequence[str]) -> Verdict:
        """One verdict on all texts, by all judges of texts concurrently."""
        judging = (self._verdict(name, judge.judge(texts)) for name, judge in self._texts.items())
        return together(await asyncio.gather(*judging))

    async def picture(self, picture: Picture) -> Verdict:
        """On a painted picture, or an uploaded one."""
        if self.pictures is None:
            return CLEAN
        return await self._verdict("pictures", self.pictures.judge(picture, self._section.threshold))

    async def _verdict(self, name: JudgeName, judging: Awaitable[Verdict]) -> Verdict:
        try:
            with self._measured(name) as outcome:
                verdict = await judging
                outcome.append("found" if verdict.found else "clean")
                return verdict
        except Exception as problem:
            return self._failed(name, problem)

    @contextmanager
    def _measured(self, name: JudgeName) -> Iterator[list[JudgeOutcome]]:
        """Tells of the judgement at the end of the context, in which its outcome is put into the list."""
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
        """The verdict for a judge that failed."""
        known = isinstance(problem, JudgeFailed)
        effect = "what it should judge is held back" if self.closed else "what it should judge passes unjudged"
        log.error("the judge of %s failed, %s: %s", name, effect, problem, exc_info=None if known else problem)
        return Verdict((UNJUDGED,), whole=False) if self.closed else UNSEEN
