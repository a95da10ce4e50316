"""Recipes and jobs for an engine."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Blend, BlendPart, Recipe
from tests.kit import recipes

_numbers = count()


def recipe(prompt: str = "", *, blend: str = "", steps: int = 3, count: int = 1, guided: bool = True) -> Recipe:
    """`blend` is the digest of its one adapter."""
    return recipes.recipe(
        prompt=prompt,
        checkpoint_digest="0",
        blend=Blend.of([BlendPart(blend, 1.0, 1.0)] if blend else []),
        width=8,
        height=8,
        steps=steps,
        guidance_scale=5.0 if guided else 1.0,
        count=count,
    )


def job(
    prompt: str = "",
    *,
    blend: str = "",
    steps: int = 3,
    count: int = 1,
    partial_images: int = 0,
    tenant: str = "a",
    priority: Priority = Priority.NORMAL,
    deadline: float = float("inf"),
    arrived: float | None = None,
) -> Job:
    return Job(
        id=f"job-{next(_numbers)}",
        recipe=recipe(prompt, blend=blend, steps=steps, count=count),
        partial_images=partial_images,
        tenant=tenant,
        priority=priority,
        arrived=time.time() if arrived is None else arrived,
        deadline=deadline,
    )


def sized_job(side: int, prompt: str = "", *, steps: int = 1, blend: str = "") -> Job:
    """A job for a square picture with `side` pixels a side."""
    made = job(prompt, steps=steps, blend=blend)
    return replace(made, recipe=replace(made.recipe, width=side, height=side, paint_width=side, paint_height=side))
