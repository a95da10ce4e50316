"""Takes a UNet's config, gives a sample of its work to time: one residual and one transformer block of each level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from math import isqrt
from statistics import median
from time import perf_counter
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

TEXT_TOKENS = 77
PRODUCTS = 2**25
"""A bound on the multiplications of a block's largest layers for each thread: a pass takes a tenth of a second."""
LEAST_PAIRS = 5
MOST_SECONDS = 0.5
FILL = 0.01

Clock = Callable[[], float]
Work = Callable[[], object]


def levels_of(config: Mapping[str, Any]) -> Any:
    """The down blocks of the UNet of that config, on the meta device."""
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(config, transformer_layers_per_block=1).down_blocks


@torch.inference_mode()
def blocks_of(levels: Any, size: int, threads: int, dtype: torch.dtype) -> list[Work]:
    """Calls of a UNet's blocks, with dummy weights, for one row of latents of that size, or smaller (see PRODUCTS)."""
    work: list[Work] = []
    for level, down in enumerate(levels):
        side = min(size >> level, _side(down.resnets[-1].out_channels, threads))
        work += _level(down, max(side, 1), dtype)
    return work


def _side(channels: int, threads: int) -> int:
    """The largest square of positions whose product with a (channels, channels) matrix is within PRODUCTS."""
    return isqrt(PRODUCTS * threads // channels**2)


def _level(down: Any, side: int, dtype: torch.dtype) -> Iterator[Work]:
    resnet = _with_dummy_weights(down.resnets[-1], dtype)
    embedding = _filled(1, resnet.time_emb_proj.in_features, dtype=dtype)
    yield partial(resnet, _filled(1, resnet.in_channels, side, side, dtype=dtype), embedding)
    for attention in list(getattr(down, "attentions", ()))[-1:]:
        block = _with_dummy_weights(attention.transformer_blocks[-1], dtype)
        text = _filled(1, TEXT_TOKENS, block.attn2.to_k.in_features, dtype=dtype)
        yield partial(block, _filled(1, side**2, block.dim, dtype=dtype), encoder_hidden_states=text)


def _with_dummy_weights(module: nn.Module, dtype: torch.dtype) -> Any:
    real = deepcopy(module).to(dtype).to_empty(device="cpu").eval()
    for weights in real.parameters():
        weights.fill_(FILL)
    return real


def _filled(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.full(shape, FILL, dtype=dtype)


@torch.inference_mode()
def time_ratio(ours: Sequence[Work], theirs: Sequence[Work], clock: Clock = perf_counter) -> float:
    """The time of `ours` divided by that of `theirs`: the median over alternating passes, so that a busy machine slows
    both alike. The first passes, which choose kernels and start threads, do not count."""
    for work in (ours, theirs):
        _seconds(work, clock)
    start, ratios = clock(), list[float]()
    while len(ratios) < LEAST_PAIRS or clock() - start < MOST_SECONDS:
        ratios.append(_seconds(ours, clock) / _seconds(theirs, clock))
    return median(ratios)


def _seconds(work: Sequence[Work], clock: Clock) -> float:
    start = clock()
    for call in work:
        call()
    return clock() - start
