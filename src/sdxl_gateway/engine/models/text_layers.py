"""Takes a UNet, gives the layers that project a text to keys and values, and has them accept precomputed ones as well.

Keys and values depend on the text and the weights only, yet diffusers' UNet computes them in every step: 140 products
in SDXL's. Precomputed for all layers, side by side, they are given to the UNet in place of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TextLayers:
    """The layers in the order of their keys and values, which are `width` numbers in all for each token."""

    layers: tuple[Any, ...] = ()
    width: int = 0

    @classmethod
    def of(cls, unet: Any) -> Self:
        """Changes the layers. None of them if texts are as wide as keys and values, as they could not be told apart."""
        layers = tuple(layer for one in cross_attentions(unet) for layer in (one.to_k, one.to_v))
        width = sum(layer.out_features for layer in layers)
        if width == unet.config.cross_attention_dim:
            return cls()
        at = 0
        for layer in layers:
            _accept_precomputed(layer, at, width)
            at += layer.out_features
        return cls(layers, width)

    def keys_and_values(self, text: Tensor) -> Tensor:
        """(rows, tokens, width) of (rows, tokens, text width)."""
        return torch.cat([layer(text) for layer in self.layers], dim=-1)


NO_TEXT_LAYERS = TextLayers()
"""For a UNet that takes texts only."""


def cross_attentions(unet: Any) -> tuple[Any, ...]:
    """The attentions to the text, in the order of `unet.attn_processors`."""
    return tuple(module for name, module in unet.named_modules() if name.endswith(".attn2"))


def _accept_precomputed(layer: Any, at: int, width: int) -> None:
    layer.project, layer.ready_at, layer.ready_width = layer.forward, at, width
    # An attribute of the instance, as in `upcast`, of one function for all layers.
    setattr(layer, "forward", MethodType(_precomputed_or_projected, layer))  # noqa: B010


def _precomputed_or_projected(layer: Any, text: Tensor) -> Tensor:
    """The layer's part of precomputed keys and values, or its projection of a text."""
    if text.shape[-1] == layer.ready_width:
        return text.narrow(-1, layer.ready_at, layer.out_features)
    projected: Tensor = layer.project(text)
    return projected
