"""Takes what an engine painted, has it delivered, and counts the pictures that were withheld."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdxl_gateway.core.errors import GatewayError, ModerationBlocked, PictureUnjudged
from sdxl_gateway.core.events import Painted, Previewed
from sdxl_gateway.delivery.deliver import Deliverer, Encoded, Output, Partial, Presented
from sdxl_gateway.gateway.events import Withheld

HELD_BACK = (ModerationBlocked, PictureUnjudged)


@dataclass(slots=True)
class Handing:
    """The pictures of one request as they come."""

    deliverer: Deliverer
    output: Output
    presented: list[Presented] = field(default_factory=list)
    _warnings: dict[str, None] = field(default_factory=dict)
    _errors: list[GatewayError] = field(default_factory=list)

    async def look(self, event: Previewed) -> Partial | None:
        """The partial image; None for one that is withheld: the finished picture is judged again."""
        try:
            return await self.deliverer.preview(event, self.output)
        except HELD_BACK:
            return None

    async def picture(self, event: Painted) -> Presented | Withheld:
        """The picture, or why it is withheld; that does not keep the others back."""
        try:
            presented = await self.deliverer.deliver(event, self.output)
        except HELD_BACK as error:
            self._errors.append(error)
            return Withheld(event.index, event.seed, error)
        return self._counted(presented)

    async def again(self, picture: Encoded) -> Presented:
        """A picture that was delivered before."""
        return self._counted(await self.deliverer.again(picture, self.output))

    def _counted(self, presented: Presented) -> Presented:
        self.presented.append(presented)
        self._warnings |= dict.fromkeys(presented.warnings)
        return presented

    def ended(self) -> tuple[str, ...]:
        """The warnings of all pictures. Raises the first refusal when every picture was withheld."""
        if self._errors and not self.presented:
            raise self._errors[0]
        held = len(self._errors)
        told = (
            (f"{held} of {held + len(self.presented)} pictures were held back by the safety system.",) if held else ()
        )
        return (*self._warnings, *told)
