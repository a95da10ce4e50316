"""Takes an enlarged picture, gives it painted over in overlapping tiles: image to image, each tile's turn a step.

MultiDiffusion (Bar-Tal et al., 2023): in each of the sampler's steps the UNet is called for tile after tile, and what
it predicts of them is brought together before the sampler moves the whole. So is what the VAE encodes and decodes.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from sdxl_gateway.core.picture import Box, Inputs, Picture
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.device import sent
from sdxl_gateway.engine.latents import LatentSource, needed, pixels_of
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.mosaic import Mosaic, scaled_down, within
from sdxl_gateway.engine.readback import eight_bit, picture_of
from sdxl_gateway.engine.stages.decode import decoded_on_host
from sdxl_gateway.engine.stages.denoise import advance, predict
from sdxl_gateway.engine.stages.prepare import first_latents, give_sampler
from sdxl_gateway.engine.stages.stage import Stage
from sdxl_gateway.pictures.finish import finish
from sdxl_gateway.pictures.pixels import from_image
from sdxl_gateway.scheduling.detail import detail_size, detail_tiles
from sdxl_gateway.scheduling.tiles import tile_count


class Detail(Stage):
    """For recipes with a detail pass; by the model, the texts and the parts of the picture's last step."""

    name = "detail"

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    @torch.inference_mode()
    def close(self, canvas: Canvas) -> bool:
        """The next tile of the next turn. Raises NotFinite for one that is no numbers, and as a step does."""
        place = canvas.closing_done - tile_count(canvas.recipe)
        if not canvas.recipe.detail or place < 0:
            return False
        large = canvas.large = canvas.large or _enlarged(canvas)
        tiles = detail_tiles(canvas.recipe)
        turn, place = divmod(place, len(tiles))
        if 0 < turn <= large.sampler_steps:
            self._put_on(canvas)
        made = _made(large, tiles[place], turn)
        canvas.step_failed = True  # what follows may not be done twice
        _bring_in(large, tiles, place, turn, made)
        canvas.step_failed = False
        if large.picture is not None:
            canvas.picture, canvas.large = large.picture, None
        return True

    def _put_on(self, canvas: Canvas) -> None:
        self._pool.checkpoint_of(canvas.phase).switcher.put_on_unet(canvas.phase.blend)


def _enlarged(canvas: Canvas) -> Canvas:
    """A canvas of the enlarged picture, as if it had been sent to be painted over from the same seed."""
    size = detail_size(canvas.recipe)
    recipe = replace(
        canvas.recipe,
        checkpoint=canvas.phase.checkpoint,
        checkpoint_digest=canvas.phase.checkpoint_digest,
        blend=canvas.phase.blend,
        task=Task.IMAGE_TO_IMAGE,
        strength=canvas.recipe.detail,
        paint_width=size.width,
        paint_height=size.height,
        controls=(),
        later_phases=(),
        guidance_end=0.0 if canvas.recipe.guidance_ends else 1.0,
    )
    image = from_image(finish(needed(canvas.collect()), size))
    large = Canvas(recipe, canvas.index, Inputs({"image": image}), canvas.checkpoint, parts=canvas.parts)
    large.source = LatentSource.of(canvas.checkpoint, recipe, canvas.index)
    give_sampler(large)
    return large


def _made(large: Canvas, tile: Box, turn: int) -> Tensor:
    """Of one tile: what the VAE encodes, what the UNet predicts, or pixels, on the host. The canvas stays as it is."""
    if turn == 0:
        return large.source.distribution(sent(pixels_of(needed(large.inputs.image), tile), large.checkpoint.device))
    part = _part(large, tile)
    if turn > large.sampler_steps:
        return decoded_on_host(large.checkpoint, part).clamp(-1, 1)
    alone = copy(large)
    alone.latents = part
    return predict([alone])[0]


def _bring_in(large: Canvas, tiles: list[Box], place: int, turn: int, made: Tensor) -> None:
    """With the last tile the turn ends."""
    if large.mosaic is None:
        large.mosaic = Mosaic(tiles, 1 if turn > large.sampler_steps else large.checkpoint.latent_scale)
    whole = large.mosaic.add(tiles[place], made)
    if place == len(tiles) - 1:
        large.mosaic = None
        _end_turn(large, turn, whole)


def _end_turn(large: Canvas, turn: int, whole: Tensor) -> None:
    """There are latents under noise, the sampler takes its step, or there is a picture."""
    if turn == 0:
        large.image_latents = large.source.sample(whole)
        large.noise = large.source.noise()
        large.latents = first_latents(large)
    elif turn <= large.sampler_steps:
        advance(large, whole)
    else:
        large.picture = _picture(whole)


def _picture(pixels: Tensor) -> Picture:
    height, width = pixels.shape[-2:]
    return picture_of(eight_bit(pixels).flatten(), height, width)


def _part(large: Canvas, tile: Box) -> Tensor:
    return within(large.latents, scaled_down(tile, large.checkpoint.latent_scale))
