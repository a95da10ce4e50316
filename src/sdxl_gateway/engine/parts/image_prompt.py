"""ImagePrompt: references guide beside the prompt; the UNet's cross-attentions attend to an IP-Adapter's tokens too."""

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
    """`attentions` are the cross-attentions of `unet`, found once, as the search takes as long as a small step."""

    image: ImageTokens
    unet: Any
    attentions: tuple[Any, ...]

    @classmethod
    def begin(cls, canvas: Canvas) -> Self | None:
        """For every canvas with an image prompt. Raises EngineFault if the engine has no IP-Adapter for it."""
        if canvas.recipe.image_prompt is None:
            return None
        if canvas.image_tokens is None:
            raise EngineFault("The recipe was made for an engine with an IP-Adapter.")
        unet = canvas.checkpoint.unet
        return cls(canvas.image_tokens, unet, cross_attentions(unet))

    def handed_over(self, canvas: Canvas) -> Self | None:
        """None for a refiner, whose layers the IP-Adapter does not fit."""
        return None if canvas.checkpoint.refines else self

    def of_prompt(self) -> Self:
        """Without the negative prompt's row, which encodes no picture."""
        image = self.image
        return replace(self, image=replace(image, tokens=image.tokens[-1:], weights=image.weights[-1:]))

    @property
    def key(self) -> int:
        """The number of tokens; the adapter is part of the recipe's own key."""
        return self.image.tokens.shape[1]

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """Call the UNet itself, with other attention processors during the call.

        Compiled code is tied to the processors it was compiled with. A later phase's model that the adapter does not
        fit paints without it.
        """
        first = parts[0]
        attentions = first.attentions if first.unet is call.unet else cross_attentions(call.unet)
        layers = first.image.adapter.layers
        if len(attentions) != len(layers):
            return
        tokens = joined([part.image.tokens for part in parts])
        weights = joined([part.image.weights for part in parts])
        processors = [ImageAttention(keys, values, tokens, weights) for keys, values in layers]
        call.denoiser = partial(_call_with_processors, attentions, processors, call.unet)


@dataclass(frozen=True, slots=True, eq=False)
class ImageAttention:
    """An attention processor: diffusers' AttnProcessor2_0 plus attention to the tokens of references.

    As IPAdapterAttnProcessor2_0, but with the scale on the values, where it can differ by canvas and picture. `keys`
    and `values` (width, text width) are the adapter's projections; `tokens` is (rows, tokens, text width), `weights`
    (rows, tokens, 1).
    """

    keys: Tensor
    values: Tensor
    tokens: Tensor
    weights: Tensor

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Tensor:
        """(rows, positions, width), as `hidden_states`; `encoder_hidden_states` are text tokens or ready-made keys and
        values (parts/text_keys.py)."""
        query = _in_heads(attn, attn.to_q(hidden_states))
        text = (attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        pictures = (linear(self.tokens, self.keys), linear(self.tokens, self.values) * self.weights)
        output: Tensor = attn.to_out[0](_attention(attn, query, *text) + _attention(attn, query, *pictures))
        return output


def _attention(attn: Any, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(rows, positions, width)."""
    attended = scaled_dot_product_attention(query, _in_heads(attn, keys), _in_heads(attn, values))
    return attended.transpose(1, 2).flatten(2)


def _in_heads(attn: Any, tokens: Tensor) -> Tensor:
    """(rows, heads, tokens, head width)."""
    rows, count, width = tokens.shape
    return tokens.view(rows, count, attn.heads, width // attn.heads).transpose(1, 2)


def _call_with_processors(
    attentions: Sequence[Any], processors: Sequence[Any], unet: Any, *inputs: Any, **arguments: Any
) -> Any:
    with _replaced(attentions, processors):
        return unet(*inputs, **arguments)


@contextmanager
def _replaced(attentions: Sequence[Any], processors: Sequence[Any]) -> Iterator[None]:
    """Restores the very same objects, as compiled code refers to them."""
    before = [attention.processor for attention in attentions]
    try:
        _set_processors(attentions, processors)
        yield
    finally:
        _set_processors(attentions, before)


def _set_processors(attentions: Sequence[Any], processors: Sequence[Any]) -> None:
    for attention, processor in zip(attentions, processors, strict=True):
        attention.processor = processor
