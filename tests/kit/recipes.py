"""Recipes for tests, with defaults for everything that a test does not set."""

from __future__ import annotations

from typing import Any

from sdxl_gateway.core.recipe import NO_BLEND, Recipe, Task


def recipe(**changes: Any) -> Recipe:
    """Three guided steps on the demo checkpoint, 64x64; painted at `width` and `height` unless set otherwise."""
    values: dict[str, Any] = {
        "task": Task.TEXT_TO_IMAGE,
        "checkpoint": "demo",
        "checkpoint_digest": changes.get("checkpoint", "demo"),
        "blend": NO_BLEND,
        "prompt": "a red circle on a blue ground",
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "paint_width": changes.get("width", 64),
        "paint_height": changes.get("height", 64),
        "steps": 3,
        "guidance_scale": 5.0,
        "sampler": "euler",
        "seed": 7,
    }
    return Recipe(**(values | changes))
