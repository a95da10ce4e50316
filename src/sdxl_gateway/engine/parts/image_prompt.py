"""ImagePrompt: pictures guide beside the prompt; a UNet's cross-attentions attend to an IP-Adapter's tokens too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.engine.canvas import Canvas, ImageTokens, StepPart, UNetCall, joined
from sdxl_gateway.engine.models.text_layers import cross_attentions


@dataclass(frozen=True, slots=True, eq=False)
class ImagePrompt(StepPart):
    """`attentions` are the cross-attentions of `unet`, found once: that takes as long as a small step."""

    image: ImageTokens
    unet: Any
    attentions: tuple[Any, ...]

    @classmethod
    def begin(cls, canvas: Canvas) -> Self | None:
        """For every canvas with an image prompt. Raises EngineFault where the engine has no adapter for it."""
        if canvas.recipe.image_prompt is None:
            return None
        if canvas.image_tokens is None:
            raise EngineFault("The recipe was made for an engine with an IP-Adapter.")
        unet = canvas.checkpoint.unet
        return cls(canvas.image_tokens, unet, cross_attentions(unet))

    def handed_over(self, canvas: Canvas) -> Self | None:
        """The adapter is not made for a refiner's layers."""
        return None if canvas.checkpoint.refines else self

    def of_prompt(self) -> Self:
        """Without the row that says nothing."""
        image = self.image
        return replace(self, image=replace(image, tokens=image.tokens[-1:], weights=image.weights[-1:]))

    @property
    def key(self) -> int:
        """The number of tokens; of which adapter they are stands in the recipe's own key."""
        return self.image.tokens.shape[1]

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """The UNet itself is called, with other attention processors as long as that lasts.

        Compiled code knows the processors it was compiled with. A model that takes over half-way and was not made for
        the adapter paints without it.
        """
        first = parts[0]
        attentions = first.attentions if first.unet is call.unet else cross_attentions(call.unet)
        layers = first.image.adapter.layers
        if len(attentions) != len(layers):
            return
        tokens = joined([part.image.tokens for part in parts])
        weights = joined([part.image.weights for part in parts])
        processors = [ImageAttention(keys, values, tokens, weights) for keys, values in layers]
        call.denoiser = partial(_attending, attentions, processors, call.unet)


@dataclass(frozen=True, slots=True, eq=False)
class ImageAttention:
    """An attention processor: diffusers' AttnProcessor2_0 and, added to it, one to the tokens of pictures.

    It is IPAdapterAttnProcessor2_0 with the scale where it can be another for each canvas and picture: on the values.
    `keys` and `values` (width, text width) are the adapter's; `tokens` is (rows, tokens, text width), `weights` (rows,
    tokens, 1).
    """

    keys: Tensor
    values: Tensor
    tokens: Tensor
    weights: Tensor

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Tensor:
        """(rows, places, width) of as many, and of the text's tokens, or their keys and values."""
        query = _in_heads(attn, attn.to_q(hidden_states))
        text = (attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        pictures = (linear(self.tokens, self.keys), linear(self.tokens, self.values) * self.weights)
        found: Tensor = attn.to_out[0](_attended(attn, query, *text) + _attended(attn, query, *pictures))
        return found


def _attended(attn: Any, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(rows, places, width)."""
    found = scaled_dot_product_attention(query, _in_heads(attn, keys), _in_heads(attn, values))
    return found.transpose(1, 2).flatten(2)


def _in_heads(attn: Any, tokens: Tensor) -> Tensor:
    """(rows, heads, tokens, width of a head)."""
    rows, count, width = tokens.shape
    return tokens.view(rows, count, attn.heads, width // attn.heads).transpose(1, 2)


def _attending(attentions: Sequence[Any], processors: Sequence[Any], unet: Any, *inputs: Any, **arguments: Any) -> Any:
    with _in_place(attentions, processors):
        return unet(*inputs, **arguments)


@contextmanager
def _in_place(attentions: Sequence[Any], processors: Sequence[Any]) -> Iterator[None]:
    """The very same objects return: what code was compiled with, it finds again."""
    before = [attention.processor for attention in attentions]
    try:
        _put(attentions, processors)
        yield
    finally:
        _put(attentions, before)


def _put(attentions: Sequence[Any], processors: Sequence[Any]) -> None:
    for attention, processor in zip(attentions, processors, strict=True):
        attention.processor = processor
