"""Takes a module with weights in half precision, makes it compute in another dtype, converting layer by layer.

On a CPU without half-precision arithmetic this is several times faster than computing in the dtype of storage, and
costs the memory of one converted layer. Parameters stay the same objects, so blends are written to them as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional


def upcast(module: nn.Module, dtype: torch.dtype) -> None:
    """Every layer of `module` computes in `dtype` from now on."""
    for part in module.modules():
        forward = _FORWARDS.get(type(part))
        if forward is not None:
            # Replaced on the instance, since hooks and direct calls both go through `forward`; a method of one function
            # for all modules, so that code compiled for one of them fits the others.
            setattr(part, "forward", MethodType(_computing_in(dtype, forward), part))  # noqa: B010


@cache
def _computing_in(dtype: torch.dtype, forward: Callable[..., Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    def forward_in_dtype(layer: nn.Module, x: Tensor) -> Tensor:
        return forward(layer, dtype, x)

    return forward_in_dtype


def _wide(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)


def _linear(layer: nn.Linear, dtype: torch.dtype, x: Tensor) -> Tensor:
    return functional.linear(x.to(dtype), layer.weight.to(dtype), _wide(layer.bias, dtype))


def _conv(layer: nn.Conv2d, dtype: torch.dtype, x: Tensor) -> Tensor:
    output: Tensor = layer._conv_forward(x.to(dtype), layer.weight.to(dtype), _wide(layer.bias, dtype))
    return output


def _group_norm(layer: nn.GroupNorm, dtype: torch.dtype, x: Tensor) -> Tensor:
    weight, bias = _wide(layer.weight, dtype), _wide(layer.bias, dtype)
    return functional.group_norm(x.to(dtype), layer.num_groups, weight, bias, layer.eps)


def _layer_norm(layer: nn.LayerNorm, dtype: torch.dtype, x: Tensor) -> Tensor:
    weight, bias = _wide(layer.weight, dtype), _wide(layer.bias, dtype)
    return functional.layer_norm(x.to(dtype), list(layer.normalized_shape), weight, bias, layer.eps)


def _embedding(layer: nn.Embedding, dtype: torch.dtype, ids: Tensor) -> Tensor:
    return functional.embedding(ids, layer.weight).to(dtype)


_FORWARDS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Embedding: _embedding,
}
