"""Takes a finished image, has it judged, and gives it as its caller's policy lets it leave, if it does."""

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
    """An image that may leave; `found` is what a person is to look at it for, `judged` where every judge could look."""

    image: Image.Image
    blurred: bool = False
    found: tuple[str, ...] = ()
    judged: bool = True

    @property
    def clean(self) -> bool:
        """Nothing stands against it, nor could."""
        return self.judged and not self.blurred and not self.found


class Inspection:
    """Without judges of pictures, or under a policy that is off, images pass as they are.

    `tell` hears of what is found; `reviews` keep what a person is to look at.
    """

    def __init__(self, judges: Judges, tell: Callable[[Moderated], None], reviews: ReviewStore | None = None) -> None:
        self._judges = judges
        self._tell = tell
        self._reviews = reviews

    async def look(self, image: Image.Image, oversight: Oversight, job_id: str) -> Image.Image:
        """A preview; nobody looks at those later. Raises ModerationBlocked, PictureUnjudged."""
        if oversight.policy is Policy.FLAG:
            return image
        return (await self._passed(image, oversight, job_id, "preview")).image

    async def picture(self, image: Image.Image, oversight: Oversight, job_id: str) -> Passed:
        """A picture, which is flagged as well for what its prompt held. Raises ModerationBlocked, PictureUnjudged."""
        return await self._passed(image, oversight, job_id, "picture")

    async def flag(self, new: NewReview) -> str | None:
        """The id under which a person will look at a picture that leaves, None where nobody will.

        Where it cannot be kept for them, it leaves all the same if a judge's failure opens; else raises StorageFull,
        Unavailable.
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
