"""Takes a UNet, gives the layers that make keys and values of a text, and has them take theirs ready made as well.

Keys and values follow from the text and the weights alone, and yet diffusers' UNet makes them in every step: 140
products of SDXL's. Ready made for all layers, side by side, they are given to the UNet in the text's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TextLayers:
    """In the order in which their keys and values stand, `width` numbers for each token."""

    layers: tuple[Any, ...] = ()
    width: int = 0

    @classmethod
    def of(cls, unet: Any) -> Self:
        """None where the text is as wide as what is made of it: the one could not be told from the other."""
        layers = tuple(layer for one in cross_attentions(unet) for layer in (one.to_k, one.to_v))
        width = sum(layer.out_features for layer in layers)
        if width == unet.config.cross_attention_dim:
            return cls()
        at = 0
        for layer in layers:
            _have_it_take(layer, at, width)
            at += layer.out_features
        return cls(layers, width)

    def keys_and_values(self, text: Tensor) -> Tensor:
        """(rows, tokens, width) of (rows, tokens, text width)."""
        return torch.cat([layer(text) for layer in self.layers], dim=-1)


NO_TEXT_LAYERS = TextLayers()
"""Of a UNet that is given texts."""


def cross_attentions(unet: Any) -> tuple[Any, ...]:
    """Those that read the text, in the order of `unet.attn_processors`."""
    return tuple(module for name, module in unet.named_modules() if name.endswith(".attn2"))


def _have_it_take(layer: Any, at: int, width: int) -> None:
    layer.made, layer.ready_at, layer.ready_width = layer.forward, at, width
    # As for `upcast`: an attribute of the instance, and one function for all.
    setattr(layer, "forward", MethodType(_taken_or_made, layer))  # noqa: B010


def _taken_or_made(layer: Any, text: Tensor) -> Tensor:
    """The layer's own of what is ready made, or what it makes of a text."""
    if text.shape[-1] == layer.ready_width:
        return text.narrow(-1, layer.ready_at, layer.out_features)
    made: Tensor = layer.made(text)
    return made
