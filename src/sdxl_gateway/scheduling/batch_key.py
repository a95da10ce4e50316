"""Takes a recipe and how far an image has come, gives the key that images sharing a step have in common."""

from __future__ import annotations

from typing import NamedTuple

from sdxl_gateway.core.recipe import BlendKey, Recipe


class BatchKey(NamedTuple):
    """Images of equal key may share a step: one model, one blend, one size, as many rows each, the same ControlNets.

    Whatever else of a recipe decides who may share a UNet call becomes one more word here.
    """

    checkpoint: str
    blend: BlendKey
    width: int
    height: int
    guided: bool
    controls: tuple[str, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe, steps_done: int) -> BatchKey:
        """The key of an image's next step, with the model of the phase that is in force then."""
        phase = recipe.phase_at(steps_done)
        return cls(
            phase.checkpoint_digest or phase.checkpoint,
            phase.blend.unet_key,
            recipe.paint_width,
            recipe.paint_height,
            recipe.guided,
            tuple(recipe.controls[i].digest for i in recipe.controls_at(steps_done)),
        )

    @property
    def weights(self) -> tuple[object, ...]:
        """What has to be in place in the UNet."""
        return self[:2]
