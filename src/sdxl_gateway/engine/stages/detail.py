"""Takes an enlarged picture, repaints it image-to-image in overlapping tiles, each closing step one tile of one turn.

MultiDiffusion (Bar-Tal et al., 2023): for each step of the sampler the UNet is called for tile after tile, and the
predictions are blended before the sampler advances the whole. VAE encoding and decoding are tiled in the same way: turn
0 encodes, turns 1 to the number of sampler steps denoise, the last decodes.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from sdxl_gateway.core.picture import Box, Inputs, Picture
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.device import to_device
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
    """For recipes with a detail pass; it uses the model, texts and parts of the picture's last step."""

    name = "detail"

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    @torch.inference_mode()
    def close(self, canvas: Canvas) -> bool:
        """The next tile of the turn. Raises NotFinite for values that are not finite, and the errors of a step."""
        done = canvas.closing_done - tile_count(canvas.recipe)
        if not canvas.recipe.detail or done < 0:
            return False
        large = canvas.large = canvas.large or _large_canvas(canvas)
        tiles = detail_tiles(canvas.recipe)
        turn, index = divmod(done, len(tiles))
        if 0 < turn <= large.sampler_steps:
            self._put_on(canvas)
        values = _tile_values(large, tiles[index], turn)
        canvas.step_failed = True  # what follows must not be repeated after a failure
        _merge_tile(large, tiles, index, turn, values)
        canvas.step_failed = False
        if large.picture is not None:
            canvas.picture, canvas.large = large.picture, None
        return True

    def _put_on(self, canvas: Canvas) -> None:
        self._pool.checkpoint_of(canvas.phase).switcher.put_on_unet(canvas.phase.blend)


def _large_canvas(canvas: Canvas) -> Canvas:
    """A canvas of the enlarged picture, as for an image-to-image request with the same seed."""
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


def _tile_values(large: Canvas, tile: Box, turn: int) -> Tensor:
    """The tile's encoded distribution, the UNet's prediction, or pixels on the host; the canvas is not changed."""
    if turn == 0:
        pixels = pixels_of(needed(large.inputs.image), tile)
        return large.source.distribution(to_device(pixels, large.checkpoint.device))
    latents = _tile_latents(large, tile)
    if turn > large.sampler_steps:
        return decoded_on_host(large.checkpoint, latents).clamp(-1, 1)
    small = copy(large)
    small.latents = latents
    return predict([small])[0]


def _merge_tile(large: Canvas, tiles: list[Box], index: int, turn: int, values: Tensor) -> None:
    """The last tile ends the turn."""
    if large.mosaic is None:
        large.mosaic = Mosaic(tiles, 1 if turn > large.sampler_steps else large.checkpoint.latent_scale)
    whole = large.mosaic.add(tiles[index], values)
    if index == len(tiles) - 1:
        large.mosaic = None
        _end_turn(large, turn, whole)


def _end_turn(large: Canvas, turn: int, whole: Tensor) -> None:
    """With all tiles blended: make the first latents, take a step of the sampler, or make the picture."""
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


def _tile_latents(large: Canvas, tile: Box) -> Tensor:
    return within(large.latents, scaled_down(tile, large.checkpoint.latent_scale))
