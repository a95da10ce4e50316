"""Takes a recipe and how far an image has come, gives the key that images sharing a step have in common."""

from __future__ import annotations

from typing import NamedTuple

from sdxl_gateway.core.recipe import BlendKey, Recipe


class BatchKey(NamedTuple):
    """Images of equal key may share a step: one model, one blend, one size, guidance or none, the same ControlNets, as
    many references. Those whose guidance ended before have a row less in it.

    Whatever else of a recipe decides who may share a UNet call becomes one more word here. `image_prompt` is an
    adapter's digest and a number of pictures.
    """

    checkpoint: str
    blend: BlendKey
    width: int
    height: int
    guided: bool
    controls: tuple[str, ...] = ()
    image_prompt: tuple[str, int] | None = None

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
            _image_prompt(recipe),
        )

    @property
    def weights(self) -> tuple[object, ...]:
        """What has to be in place in the UNet."""
        return self[:2]


def _image_prompt(recipe: Recipe) -> tuple[str, int] | None:
    """The adapter and the number of its pictures, whatever their weights are."""
    prompt = recipe.image_prompt
    return None if prompt is None else (prompt.digest, len(prompt.weights))
