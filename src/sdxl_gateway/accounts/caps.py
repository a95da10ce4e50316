"""Takes a request and its caller's caps, refuses what is above them, naming the field."""

from __future__ import annotations

from sdxl_gateway.core.allowance import Allowance
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.sizes import nearest_size

ABOVE = "integer_above_max_value"


def check_asked(ask: Ask, most: Allowance) -> None:
    """Raises InvalidRequest for more pictures than a request, or a minute, may have."""
    for count in (most.max_n, most.images_per_minute):
        if count and ask.n > count:
            raise InvalidRequest(
                f"You may have {count} pictures at once, and asked for {ask.n}.", param="n", code=ABOVE
            )


def check_recipe(ask: Ask, recipe: Recipe, most: Allowance) -> None:
    """Raises InvalidRequest for too many steps, or too large a picture, whether asked for or by default."""
    if most.max_steps and recipe.steps > most.max_steps:
        param = "quality" if ask.steps is None and ask.quality is not None else "steps"
        told = f"You may have {most.max_steps} steps, and these would be {recipe.steps}."
        raise InvalidRequest(told, param=param, code=ABOVE)
    size = Size(recipe.width, recipe.height)
    if most.max_pixels and size.width * size.height > most.max_pixels:
        would = nearest_size(size, max(most.max_pixels, 4096))
        told = f"You may have pictures of {most.max_pixels} pixels, and this would be {size}; '{would}' would do."
        raise InvalidRequest(told, param="upscale" if _enlarged(ask, recipe, most) else "size")


def check_cost(cost: int, most: Allowance) -> None:
    """Raises InvalidRequest for a request that costs more than a whole day's allowance."""
    if most.pixel_steps_per_day and cost > most.pixel_steps_per_day:
        told = f"This would take {cost} pixel-steps, and you may have {most.pixel_steps_per_day} a day."
        raise InvalidRequest(told, param="size", code=ABOVE)


def _enlarged(ask: Ask, recipe: Recipe, most: Allowance) -> bool:
    """Whether it is too large only because it is upscaled."""
    return ask.upscale > 1 and recipe.width * recipe.height // ask.upscale**2 <= most.max_pixels
