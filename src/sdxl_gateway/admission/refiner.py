"""The phase in which a refiner takes the last steps of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.config import Checkpoint
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.recipe import NO_BLEND, Phase, Recipe, Task
from sdxl_gateway.core.text import shown

REFINER_AT = 0.8


@dataclass(frozen=True, slots=True)
class Refiners:
    """The refiners among the `checkpoints`; `sections` say which one is a checkpoint's own."""

    checkpoints: Mapping[str, CheckpointEntry]
    sections: Mapping[str, Checkpoint]
    sees: Callable[[str], bool] = bool

    def only(self, sees: Callable[[str], bool]) -> Refiners:
        """The refiners that a caller may name; a checkpoint's own refiner is always allowed."""
        return replace(self, sees=sees)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `refiner` may have."""
        return tuple(name for name, entry in self.checkpoints.items() if entry.refines and self.sees(name))

    def phases(self, ask: Ask, recipe: Recipe) -> tuple[Phase, ...]:
        """What follows the recipe's checkpoint: nothing, or a refiner without the blend, which is not made for it.

        Raises InvalidRequest for a refiner that is not there, and for a refiner that is to be the whole model of a
        picture made of nothing, or to be refined itself.
        """
        own = self.checkpoints[recipe.checkpoint]
        if own.refines and recipe.task is Task.TEXT_TO_IMAGE:
            raise InvalidRequest(
                f"The model {shown(own.name)} is a refiner and paints from pictures alone: send one to "
                "/v1/images/edits, or ask another model for a picture with this one as 'refiner'.",
                param="model",
            )
        if ask.refiner in (None, False):
            return ()
        if own.refines:
            raise InvalidRequest(f"The model {shown(own.name)} is a refiner itself.", param="refiner")
        refiner = self._named(ask.refiner, own)
        share = REFINER_AT if ask.refiner_at is None else ask.refiner_at
        if share == 1.0:
            return ()
        guess = max(min(round(share * recipe.denoise_steps), recipe.denoise_steps - 1), 1)
        return (Phase(refiner.name, refiner.digest, NO_BLEND, guess, share),)

    def _named(self, asked: str | bool | None, checkpoint: CheckpointEntry) -> CheckpointEntry:
        own = self.sections.get(checkpoint.name, checkpoint.section)
        name = own.refiner if asked is True else asked
        if not isinstance(name, str):
            raise InvalidRequest(
                f"The model {shown(checkpoint.name)} has no refiner of its own.{self._choices}", param="refiner"
            )
        known = [one for one, entry in self.checkpoints.items() if entry.refines] if asked is True else self.names
        found = next((one for one in known if one.lower() == name.lower()), None)
        if found is None:
            raise InvalidRequest(f"There is no refiner {shown(name)}.{self._choices}", param="refiner")
        return self.checkpoints[found]

    @property
    def _choices(self) -> str:
        return f" There are: {', '.join(map(shown, self.names))}." if self.names else " None is configured."


def refiner_warnings(ask: Ask, recipe: Recipe) -> tuple[str, ...]:
    """Warnings for settings of a refiner that have no effect."""
    if ask.refiner_at is not None and ask.refiner in (None, False):
        return ("The refiner_at changes nothing without a refiner.",)
    if ask.refiner and not recipe.later_phases:
        return ("The refiner takes no step where refiner_at is 1.",)
    if recipe.later_phases and recipe.denoise_steps == 1:
        return ("The refiner takes no step of a picture painted in one.",)
    return ()
