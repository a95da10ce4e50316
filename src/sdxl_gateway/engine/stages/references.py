"""Takes a canvas's references, gives the tokens that an IP-Adapter makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.recipe import ImagePrompt
from sdxl_gateway.engine.canvas import Canvas, ImageTokens
from sdxl_gateway.engine.device import to_device
from sdxl_gateway.engine.latents import needed, pixels_of
from sdxl_gateway.engine.models.image_prompts import IMAGE_ENCODER, IP_ADAPTER, IPAdapter
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.stages.encode import EmbeddingCache
from sdxl_gateway.engine.stages.stage import Stage

NOTHING = ""
"""The cache's key for no picture, in place of a digest."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureTokens:
    """`tokens` is (1, tokens, text width)."""

    tokens: Tensor

    @property
    def size_bytes(self) -> int:
        """Of the tensor."""
        return self.tokens.nbytes


class EncodeReferences(Stage):
    """Tokens are cached by adapter and picture, so that other weights, seeds and prompts use them again."""

    name = "references"

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._cache: EmbeddingCache[tuple[str, str], PictureTokens] = EmbeddingCache()

    @torch.inference_mode()
    def begin(self, canvas: Canvas) -> None:
        """Raises DoesNotFit if there is no memory for the adapter or the image encoder."""
        prompt = canvas.recipe.image_prompt
        if prompt is not None:
            canvas.image_tokens = self._image_tokens(canvas, prompt)
            for kind in (IP_ADAPTER, IMAGE_ENCODER):
                self._pool.need_not_stay(kind)

    def _image_tokens(self, canvas: Canvas, prompt: ImagePrompt) -> ImageTokens:
        adapter: IPAdapter = self._pool.get(IP_ADAPTER, prompt.digest)
        pictures = [self._picture(canvas, prompt, adapter, index) for index in range(len(prompt.weights))]
        rows = [torch.cat(pictures, dim=1)]
        if canvas.rows > 1:
            nothing = self._tokens(prompt, NOTHING, lambda: adapter.tokens_of_nothing(self._encoder(prompt)))
            rows.insert(0, nothing.repeat(1, len(pictures), 1))
        return ImageTokens(adapter, torch.cat(rows), _weights(prompt, pictures, len(rows)))

    def _picture(self, canvas: Canvas, prompt: ImagePrompt, adapter: IPAdapter, index: int) -> Tensor:
        checkpoint, picture = canvas.checkpoint, needed(canvas.inputs.reference(index))

        def make() -> Tensor:
            encoder = self._encoder(prompt)
            return adapter.tokens(encoder, to_device(_normalized(picture), checkpoint.device, checkpoint.dtype))

        return self._tokens(prompt, picture.digest, make)

    def _tokens(self, prompt: ImagePrompt, picture: str, make: Callable[[], Tensor]) -> Tensor:
        return self._cache.get((prompt.digest, picture), lambda: PictureTokens(make())).tokens

    def _encoder(self, prompt: ImagePrompt) -> Any:
        return self._pool.get(IMAGE_ENCODER, prompt.digest)


def _weights(prompt: ImagePrompt, pictures: list[Tensor], rows: int) -> Tensor:
    """(rows, tokens, 1): each token has its picture's weight."""
    each = pictures[0].shape[1]
    values = [weight for weight in prompt.weights for _ in range(each)]
    like = pictures[0]
    return to_device(torch.tensor(values, dtype=like.dtype), like.device)[None, :, None].expand(rows, -1, -1)


def _normalized(picture: Picture) -> Tensor:
    """(1, 3, side, side) float32, with the normalisation that CLIP's vision models were trained with."""
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    return ((pixels_of(picture) + 1) / 2 - mean) / std
