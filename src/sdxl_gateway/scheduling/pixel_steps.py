"""Pixel steps: what a recipe is charged for, the painted pixels of all its steps."""

from __future__ import annotations

from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.scheduling.detail import detail_steps


def pixel_steps(recipe: Recipe) -> int:
    """Those of all its pictures, by UNet calls: second-order samplers make two a step, a detail pass some per tile."""
    calls = recipe.denoise_steps + detail_steps(recipe)
    return recipe.count * recipe.paint_width * recipe.paint_height * calls
