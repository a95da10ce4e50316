"""Takes a pool and its stages, paints before the first request, so that one-time costs are paid and speed is known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.errors import give_memory_back
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.sideline import Sideline
from sdxl_gateway.engine.stages.stage import Stage
from sdxl_gateway.engine.trial import native_side, trial_recipe
from sdxl_gateway.engine.unet.recorded import CALLS_BEFORE

log = logging.getLogger(__name__)

GUIDANCE_SCALE = 5.0


def warm_up(pool: ModelPool, stages: Sequence[Stage], checkpoint: Checkpoint, measure: Measure) -> None:
    """Paints at the checkpoint's native size, without guidance and with; only the last picture's times are measured.

    The first ones load code onto the device, choose kernels and have the UNet's calls recorded as CUDA graphs.
    """
    side = native_side(checkpoint)
    plain = trial_recipe(checkpoint, side, side, steps=CALLS_BEFORE + 1)
    guided = replace(plain, guidance_scale=1.0 if plain.embeds_guidance else GUIDANCE_SCALE)
    engine = DiffusionEngine(pool, stages, measure, Sideline())
    try:
        with pool.timings.muted():
            _paint(engine, plain)
            _paint(engine, guided)
        _paint(engine, guided)
    except GatewayError as problem:
        log.warning("the engine could not warm up, so the first requests will be slower: %s", problem)
    give_memory_back()


def _paint(engine: DiffusionEngine, recipe: Recipe) -> None:
    canvas = engine.begin(recipe, 0, NO_INPUTS)
    while canvas.steps_done < canvas.steps_total:
        engine.step([canvas])
    engine.finish(canvas).result()
