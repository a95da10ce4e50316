"""Takes a finished image, has it judged, and gives it as its caller's policy allows, or raises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from sdxl_gateway.core.errors import StorageFull, Unavailable
from sdxl_gateway.core.safety import Action, Moderated, Oversight, Policy, Stage, Verdict
from sdxl_gateway.pictures.blur import unrecognisable
from sdxl_gateway.pictures.pixels import from_image
from sdxl_gateway.safety.judges import Judges
from sdxl_gateway.safety.refusal import refusal
from sdxl_gateway.storage.reviews import NewReview, ReviewStore

log = logging.getLogger(__name__)

ACTIONS: dict[Policy, Action] = {Policy.BLOCK: "blocked", Policy.BLUR: "blurred", Policy.FLAG: "flagged"}


@dataclass(frozen=True, slots=True)
class Passed:
    """An image that may be handed out; `found` is what a person is to review, `judged` whether every judge saw it."""

    image: Image.Image
    blurred: bool = False
    found: tuple[str, ...] = ()
    judged: bool = True

    @property
    def clean(self) -> bool:
        """Every judge saw it and found nothing."""
        return self.judged and not self.blurred and not self.found


class Inspection:
    """Has images judged; without judges of pictures, or with the policy off, they pass as they are.

    `tell` hears what was found; `reviews` stores what a person is to review.
    """

    def __init__(self, judges: Judges, tell: Callable[[Moderated], None], reviews: ReviewStore | None = None) -> None:
        self._judges = judges
        self._tell = tell
        self._reviews = reviews

    async def look(self, image: Image.Image, oversight: Oversight, job_id: str) -> Image.Image:
        """A partial image; those are never reviewed. Raises ModerationBlocked, PictureUnjudged."""
        if oversight.policy is Policy.FLAG:
            return image
        return (await self._passed(image, oversight, job_id, "preview")).image

    async def picture(self, image: Image.Image, oversight: Oversight, job_id: str) -> Passed:
        """A picture; what was found in its prompt counts too. Raises ModerationBlocked, PictureUnjudged."""
        return await self._passed(image, oversight, job_id, "picture")

    async def flag(self, new: NewReview) -> str | None:
        """Open a review of a picture that is handed out; its id, None when it could not be stored.

        Raises StorageFull and Unavailable where the settings are to fail closed.
        """
        review = await self._kept(new)
        self._tell(Moderated(new.tenant, new.key_id, new.job, "picture", "flagged", new.categories, review))
        return review

    async def _kept(self, new: NewReview) -> str | None:
        try:
            return None if self._reviews is None else await self._reviews.add(new)
        except (StorageFull, Unavailable) as error:
            if self._judges.closed:
                raise
            log.error("a flagged picture cannot be kept for review, and leaves: %s", error.__cause__ or error)
            return None

    async def _passed(self, image: Image.Image, oversight: Oversight, job_id: str, stage: Stage) -> Passed:
        verdict = await self._verdict(image, oversight)
        found = tuple(dict.fromkeys((*oversight.found, *verdict.categories)))
        if not found:
            return Passed(image, judged=verdict.whole)
        action = ACTIONS[oversight.policy]
        if action == "flagged":
            return Passed(image, found=found, judged=verdict.whole)
        self._tell(Moderated(oversight.tenant, oversight.key_id, job_id, stage, action, found))
        if action == "blocked":
            raise refusal(verdict, "output")
        return Passed(await asyncio.to_thread(unrecognisable, image), blurred=True)

    async def _verdict(self, image: Image.Image, oversight: Oversight) -> Verdict:
        if oversight.policy is Policy.OFF or not self._judges.of_pictures:
            return Verdict()
        return await self._judges.picture(await asyncio.to_thread(from_image, image))
