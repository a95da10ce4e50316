"""Takes what matters to a test, gives a recipe; whatever else a recipe needs is decided here alone."""

from __future__ import annotations

from typing import Any

from sdxl_gateway.core.recipe import NO_BLEND, Recipe, Task


def recipe(**changes: Any) -> Recipe:
    """Three guided steps on the demo checkpoint, 64x64; `width` and `height` are painted as they are handed out."""
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
