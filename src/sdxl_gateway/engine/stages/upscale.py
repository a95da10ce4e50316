"""Takes a decoded picture, gives it enlarged by an upscaling network, one tile in each closing step."""

from __future__ import annotations

import torch
from torch import Tensor

from sdxl_gateway.core.errors import NotFinite
from sdxl_gateway.core.picture import Box, Picture, Size
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.latents import needed, zero_to_one
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.models.upscalers import UPSCALER, Upscaler
from sdxl_gateway.engine.stages.decode import BROKEN
from sdxl_gateway.engine.stages.stage import Stage
from sdxl_gateway.scheduling.tiles import tile_count, tiles_of, with_context


class Upscale(Stage):
    """For recipes that name an upscaler."""

    name = "upscale"

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    @torch.inference_mode()
    def close(self, canvas: Canvas) -> bool:
        """The next tile; the last one completes the picture. Raises NotFinite for values that are not finite."""
        index = canvas.closing_done
        if index >= tile_count(canvas.recipe):
            return False
        upscaler: Upscaler = self._pool.get(UPSCALER, canvas.recipe.upscaler_digest)
        painted = needed(canvas.collect())
        size = Size(painted.width, painted.height)
        if canvas.enlarged is None:
            canvas.enlarged = torch.empty(
                size.height * upscaler.scale, size.width * upscaler.scale, 3, dtype=torch.uint8
            )
        tile = tiles_of(size)[index]
        context = with_context(tile, size)
        rows = _enlarged(upscaler, zero_to_one(painted, context))
        _put(canvas.enlarged, rows, tile, context, upscaler.scale)
        if index == tile_count(canvas.recipe) - 1:
            canvas.picture = _picture(canvas.enlarged)
        return True


def _picture(rows: Tensor) -> Picture:
    height, width, _ = rows.shape
    return Picture(width, height, "RGB", rows.numpy().tobytes())


def _enlarged(upscaler: Upscaler, pixels: Tensor) -> Tensor:
    """(height, width, 3) 8-bit on the host, of (1, 3, h, w), 0 to 1."""
    weight = next(upscaler.net.parameters())
    enlarged = upscaler.net(pixels.to(weight.device, weight.dtype)).float()
    if not bool(torch.isfinite(enlarged).all()):
        raise NotFinite(BROKEN)
    rows: Tensor = enlarged.clamp(0, 1).mul(255).round().to(torch.uint8)[0].permute(1, 2, 0).cpu()
    return rows


def _put(whole: Tensor, rows: Tensor, tile: Box, context: Box, scale: int) -> None:
    """Copy the tile into `whole`, without the context around it."""
    top, left = (tile.top - context.top) * scale, (tile.left - context.left) * scale
    inner = rows[top : top + tile.height * scale, left : left + tile.width * scale]
    whole[tile.top * scale : tile.bottom * scale, tile.left * scale : tile.right * scale] = inner
