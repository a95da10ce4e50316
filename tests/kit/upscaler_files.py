"""Small upscalers with random weights, named as in published files, and their computation written out."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle, prelu

Weights = dict[str, Tensor]
FEATURES, GROWTH, BLOCKS = 8, 4, 2
FOLDS = {4: 1, 2: 2, 1: 4}


def _add(weights: Weights, name: str, before: int, after: int) -> None:
    weights[f"{name}.weight"] = torch.randn(after, before, 3, 3) * 0.1
    weights[f"{name}.bias"] = torch.randn(after) * 0.1


def rrdb(scale: int = 4) -> Weights:
    """A net with Real-ESRGAN's names."""
    torch.manual_seed(scale)
    weights: Weights = {}
    _add(weights, "conv_first", 3 * FOLDS[scale] ** 2, FEATURES)
    for block in range(BLOCKS):
        _add_dense(weights, f"body.{block}.rdb{{}}.conv{{}}")
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        _add(weights, name, FEATURES, FEATURES)
    _add(weights, "conv_last", FEATURES, 3)
    return weights


def rrdb_old(scale: int = 4) -> Weights:
    """A net with the names of the first ESRGAN files."""
    torch.manual_seed(scale)
    doublings = scale.bit_length() - 1
    weights: Weights = {}
    _add(weights, "model.0", 3, FEATURES)
    for block in range(BLOCKS):
        _add_dense(weights, f"model.1.sub.{block}.RDB{{}}.conv{{}}.0")
    places = [f"model.1.sub.{BLOCKS}", *(f"model.{3 * (place + 1)}" for place in range(doublings))]
    for place in [*places, f"model.{3 * doublings + 2}"]:
        _add(weights, place, FEATURES, FEATURES)
    _add(weights, f"model.{3 * doublings + 4}", FEATURES, 3)
    return weights


def _add_dense(weights: Weights, name: str) -> None:
    for dense in (1, 2, 3):
        for place in range(5):
            after = GROWTH if place < 4 else FEATURES
            _add(weights, name.format(dense, place + 1), FEATURES + place * GROWTH, after)


def compact(scale: int = 4) -> Weights:
    """A net of Real-ESRGAN's compact kind."""
    torch.manual_seed(scale)
    weights: Weights = {}
    for place, (before, after) in enumerate([(3, FEATURES), *[(FEATURES, FEATURES)] * BLOCKS]):
        _add(weights, f"body.{2 * place}", before, after)
        weights[f"body.{2 * place + 1}.weight"] = torch.rand(FEATURES)
    _add(weights, f"body.{2 * BLOCKS + 2}", FEATURES, 3 * scale**2)
    return weights


def written(weights: Weights, path: Path, before: str = "") -> Path:
    save_file({before + name: tensor.contiguous() for name, tensor in weights.items()}, path)
    return path


def computed(weights: Weights, scale: int, picture: Tensor) -> Tensor:
    """(1, 3, h, w), 0 to 1, enlarged as in the papers."""

    def conv(name: str, x: Tensor) -> Tensor:
        return conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    if "body.1.weight" in weights:
        x = picture
        for place in range(BLOCKS + 1):
            x = prelu(conv(f"body.{2 * place}", x), weights[f"body.{2 * place + 1}.weight"])
        x = conv(f"body.{2 * BLOCKS + 2}", x)
        return pixel_shuffle(x, scale) + interpolate(picture, scale_factor=scale, mode="nearest")
    old = "model.0.weight" in weights
    doublings = scale.bit_length() - 1 if old else 2
    block_name = "model.1.sub.{}.RDB{}.conv{}.0" if old else "body.{}.rdb{}.conv{}"
    ups = [f"model.{3 * (i + 1)}" for i in range(doublings)] if old else ["conv_up1", "conv_up2"]
    hr, last = (f"model.{3 * doublings + 2}", f"model.{3 * doublings + 4}") if old else ("conv_hr", "conv_last")
    x = first = conv("model.0" if old else "conv_first", pixel_unshuffle(picture, 1 if old else FOLDS[scale]))
    for block in range(BLOCKS):
        into_block = x
        for dense in (1, 2, 3):
            seen = x
            for place in (1, 2, 3, 4):
                seen = torch.cat([seen, leaky_relu(conv(block_name.format(block, dense, place), seen), 0.2)], 1)
            x = x + 0.2 * conv(block_name.format(block, dense, 5), seen)
        x = into_block + 0.2 * x
    x = first + conv(f"model.1.sub.{BLOCKS}" if old else "conv_body", x)
    for up in ups:
        x = leaky_relu(conv(up, interpolate(x, scale_factor=2, mode="nearest")), 0.2)
    return conv(last, leaky_relu(conv(hr, x), 0.2))
