"""Takes texts and pictures to be judged without painting, gives the verdicts of the judges that paintings pass."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_gateway.admission.uploads import Uploads
from sdxl_gateway.core.ask import Ask, Operation, Upload
from sdxl_gateway.core.errors import InvalidRequest, NotFound
from sdxl_gateway.core.safety import CLEAN, Verdict, together
from sdxl_gateway.pictures.pixels import from_image
from sdxl_gateway.safety.judges import Judges
from sdxl_gateway.safety.refusal import refusal


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found in the texts and in the pictures of one input."""

    texts: Verdict
    pictures: Verdict


class Moderations:
    """Judges one picture at a time, so that paintings, which pass the same judge, do not wait for these."""

    def __init__(self, judges: Judges, uploads: Uploads, turn: asyncio.Semaphore | None = None) -> None:
        self._judges = judges
        self._uploads = uploads
        self._turn = turn or asyncio.Semaphore(1)

    def with_judges(self, judges: Judges, uploads: Uploads) -> Moderations:
        """The same with other judges; both take turns with each other."""
        return Moderations(judges, uploads, self._turn)

    async def judged(self, texts: Sequence[str], pictures: Sequence[Upload]) -> Judged:
        """Raises NotFound where there is no judge at all, InvalidRequest where there is none of what was sent.

        Raises InvalidImage, and Unjudged where a judge failed.
        """
        self._check(texts, pictures)
        found = Judged(await self._judges.texts(texts) if texts else CLEAN, await self._seen(pictures))
        for verdict in (found.texts, found.pictures):
            if verdict.unjudged:
                raise refusal(verdict, "input")
        return found

    def _check(self, texts: Sequence[str], pictures: Sequence[Upload]) -> None:
        judges = self._judges
        if not judges.of_texts and not judges.of_pictures:
            raise NotFound("This server has no judges.", code="no_judge")
        if texts and not judges.of_texts:
            raise InvalidRequest("This server has no judge of texts.", param="input", code="no_judge")
        if pictures and not judges.of_pictures:
            raise InvalidRequest("This server has no judge of pictures.", param="input", code="no_judge")

    async def _seen(self, pictures: Sequence[Upload]) -> Verdict:
        if not pictures:
            return CLEAN
        async with self._turn, self._uploads.turn(Ask(Operation.VARY, images=tuple(pictures))):
            return together([await self._one(upload) for upload in pictures])

    async def _one(self, upload: Upload) -> Verdict:
        image = await self._uploads.picture(upload)
        return await self._judges.picture(await self._uploads.off_the_loop(from_image, image))
