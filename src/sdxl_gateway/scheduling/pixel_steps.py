"""Takes a recipe, gives what it costs whoever asked for it: the pixels painted, once for each step."""

from __future__ import annotations

from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.scheduling.detail import detail_steps


def pixel_steps(recipe: Recipe) -> int:
    """All its pictures', by UNet calls: a sampler of second order makes two a step, and a detail pass some a tile."""
    calls = recipe.denoise_steps + detail_steps(recipe)
    return recipe.count * recipe.paint_width * recipe.paint_height * calls
