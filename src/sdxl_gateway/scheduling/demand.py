"""The amounts that a recipe asks of a device, which can be summed over recipes."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.scheduling.costs import mean_work, step_work
from sdxl_gateway.scheduling.detail import detail_steps
from sdxl_gateway.scheduling.tiles import tile_count


@dataclass(frozen=True, slots=True)
class Demand:
    """`steps` is the number of UNet calls, `work` their rows times megapixels.

    `tiles` is the number of tiles that a net upscales.
    """

    jobs: int = 0
    images: int = 0
    steps: int = 0
    tiles: int = 0
    work: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe, lanes: int = 1) -> Demand:
        """The demand of one job, whose images share steps, so many in each."""
        count, closing = recipe.count, detail_steps(recipe)
        steps = recipe.denoise_steps * -(-count // lanes) + count * closing
        calls = recipe.denoise_steps
        work = (mean_work(recipe) * calls + step_work(recipe, calls) * closing) * count
        return cls(1, count, steps, count * tile_count(recipe), work)

    def __add__(self, other: Demand) -> Demand:
        return Demand(
            self.jobs + other.jobs,
            self.images + other.images,
            self.steps + other.steps,
            self.tiles + other.tiles,
            self.work + other.work,
        )

    def __sub__(self, other: Demand) -> Demand:
        return self + Demand(-other.jobs, -other.images, -other.steps, -other.tiles, -other.work)
