"""Takes a finished image, has it judged, and gives it as its caller's policy lets it leave, if it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from sdxl_gateway.core.safety import Action, Moderated, Oversight, Policy, Stage, Verdict
from sdxl_gateway.pictures.blur import unrecognisable
from sdxl_gateway.pictures.pixels import from_image
from sdxl_gateway.safety.judges import Judges
from sdxl_gateway.safety.refusal import refusal

ACTIONS: dict[Policy, Action] = {Policy.BLOCK: "blocked", Policy.BLUR: "blurred", Policy.FLAG: "flagged"}


@dataclass(frozen=True, slots=True)
class Passed:
    """An image that may leave; `found` is what a person is to look at it for."""

    image: Image.Image
    blurred: bool = False
    found: tuple[str, ...] = ()


class Inspection:
    """Without judges of pictures, or under a policy that is off, images pass as they are."""

    def __init__(self, judges: Judges, tell: Callable[[Moderated], None]) -> None:
        self._judges = judges
        self._tell = tell

    async def look(self, image: Image.Image, oversight: Oversight, job_id: str) -> Image.Image:
        """A preview; nobody looks at those later. Raises ModerationBlocked, Unjudged."""
        if oversight.policy is Policy.FLAG:
            return image
        return (await self._passed(image, oversight, job_id, "preview")).image

    async def picture(self, image: Image.Image, oversight: Oversight, job_id: str) -> Passed:
        """A picture, which is flagged as well for what its prompt held. Raises ModerationBlocked, Unjudged."""
        return await self._passed(image, oversight, job_id, "picture")

    async def _passed(self, image: Image.Image, oversight: Oversight, job_id: str, stage: Stage) -> Passed:
        verdict = await self._verdict(image, oversight)
        found = tuple(dict.fromkeys((*oversight.found, *verdict.categories)))
        if not found:
            return Passed(image)
        action = ACTIONS[oversight.policy]
        self._tell(Moderated(oversight.tenant, oversight.key_id, job_id, stage, action, found))
        if action == "blocked":
            raise refusal(verdict, "output")
        if action == "blurred":
            return Passed(await asyncio.to_thread(unrecognisable, image), blurred=True)
        return Passed(image, found=found)

    async def _verdict(self, image: Image.Image, oversight: Oversight) -> Verdict:
        if oversight.policy is Policy.OFF or not self._judges.of_pictures:
            return Verdict()
        return await self._judges.picture(await asyncio.to_thread(from_image, image))
