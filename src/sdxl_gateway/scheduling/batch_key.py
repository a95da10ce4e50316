"""The batch key: images of equal key can be batched in one step."""

from __future__ import annotations

from typing import NamedTuple

from sdxl_gateway.core.recipe import BlendKey, Recipe


class BatchKey(NamedTuple):
    """Images of equal key share model, blend, size, guidance, ControlNets and number of references. After guidance has
    ended an image has one row less.

    Anything else in a recipe that must be equal within a UNet call is to be added here. `image_prompt` is the adapter's
    digest and the number of pictures.
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
        """The key of an image's next step, with the model of its phase."""
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
        """The part of the key that decides the UNet's weights."""
        return self[:2]


def _image_prompt(recipe: Recipe) -> tuple[str, int] | None:
    """The adapter and the number of its pictures; their weights may differ."""
    prompt = recipe.image_prompt
    return None if prompt is None else (prompt.digest, len(prompt.weights))
