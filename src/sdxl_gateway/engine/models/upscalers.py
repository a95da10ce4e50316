"""Takes an upscaler's file, gives the network: one of the ESRGAN family, from safetensors only.

Enhanced SRGAN's RRDBNet (Wang et al., 2018), with Real-ESRGAN's pixel-unshuffled input for the smaller scales, and its
compact SRVGGNet (Wang et al., 2021). Modules are named as in the published files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle

from sdxl_gateway.catalog.upscalers import RGB, Architecture, UpscalerEntry, unwrapped
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.models.by_digest import ByDigest
from sdxl_gateway.engine.models.lazy_tensors import tensors_of

UPSCALER = "upscaler"
SLOPE = 0.2
"""Of the leaky ReLUs; also the factor of the residual branches."""


class DenseBlock(nn.Module):
    """Five convolutions, each of which reads the input and all outputs before it."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for i in range(4):
            setattr(self, f"conv{i + 1}", _convolution(features + i * growth, growth))
        self.conv5 = _convolution(features + 4 * growth, features)

    def forward(self, x: Tensor) -> Tensor:
        """(n, features, h, w) both ways."""
        seen = [x]
        for i in range(4):
            seen.append(leaky_relu(getattr(self, f"conv{i + 1}")(torch.cat(seen, 1)), SLOPE))
        output: Tensor = self.conv5(torch.cat(seen, 1)) * SLOPE + x
        return output


class ResidualDenseBlocks(nn.Module):
    """Three dense blocks with a skip connection around them."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(features, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(n, features, h, w) both ways."""
        output: Tensor = self.rdb3(self.rdb2(self.rdb1(x))) * SLOPE + x
        return output


class RRDBNet(nn.Module):
    """ESRGAN's generator: pixel-unshuffles its input by 2**folds, and enlarges each side by 2**doublings."""

    def __init__(self, features: int, growth: int, blocks: int, doublings: int = 2, folds: int = 0) -> None:
        super().__init__()
        self._fold = 2**folds
        self.conv_first = _convolution(RGB * self._fold**2, features)
        self.body = nn.Sequential(*(ResidualDenseBlocks(features, growth) for _ in range(blocks)))
        self.conv_body = _convolution(features, features)
        self._ups = [f"conv_up{i + 1}" for i in range(doublings)]
        for name in self._ups:
            setattr(self, name, _convolution(features, features))
        self.conv_hr, self.conv_last = _convolution(features, features), _convolution(features, RGB)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w), 0 to 1, to the enlarged picture, a little beyond 0 and 1."""
        first = self.conv_first(pixel_unshuffle(x, self._fold))
        x = first + self.conv_body(self.body(first))
        for name in self._ups:
            x = leaky_relu(getattr(self, name)(interpolate(x, scale_factor=2, mode="nearest")), SLOPE)
        output: Tensor = self.conv_last(leaky_relu(self.conv_hr(x), SLOPE))
        return output


class CompactNet(nn.Module):
    """Real-ESRGAN's compact network: convolutions, added to the picture enlarged by nearest neighbour."""

    def __init__(self, features: int, blocks: int, scale: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(RGB, features), nn.PReLU(features)]
        for _ in range(blocks):
            layers += [_convolution(features, features), nn.PReLU(features)]
        self.body = nn.Sequential(*layers, _convolution(features, RGB * scale**2))
        self._scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w), 0 to 1, to (n, 3, h * scale, w * scale), a little beyond 0 and 1."""
        return pixel_shuffle(self.body(x), self._scale) + interpolate(x, scale_factor=self._scale, mode="nearest")


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


@dataclass(frozen=True, slots=True)
class Upscaler:
    """A network on the device that enlarges each side by `scale`."""

    net: nn.Module
    scale: int


@dataclass(frozen=True, slots=True)
class UpscalerLoader:
    """Loads upscalers in `dtype`, by digest, for recipes that name one."""

    files: ByDigest[UpscalerEntry]
    device: torch.device
    dtype: torch.dtype

    @property
    def names(self) -> tuple[str, ...]:
        return self.files.digests

    def wanted_by(self, recipe: Recipe) -> Iterable[str]:
        """The recipe's upscaler, if any."""
        return (recipe.upscaler_digest,) if recipe.upscaler else ()

    def cost_bytes(self, name: str) -> int:
        """The file's size. Raises Unavailable if it is gone."""
        return self.files.of(name).path.stat().st_size

    def load(self, name: str) -> Upscaler:
        """Raises Unavailable, CheckpointProblem."""
        return self.files.read(name, lambda entry: load_upscaler(entry, self.device, self.dtype))

    def unload(self, model: Upscaler) -> None:
        """Nothing but the model itself is on the ledger."""


def load_upscaler(entry: UpscalerEntry, device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Raises CheckpointProblem for a file that has changed, or whose tensors are not those of its architecture."""
    try:
        weights = {unwrapped(name): tensor for name, tensor in tensors_of(entry.path, dtype).items()}
        if entry.architecture is Architecture.RRDB_OLD:
            weights = {_present_name(name, entry): tensor for name, tensor in weights.items()}
        with torch.device("meta"):
            net = _net(entry, weights)
        net.load_state_dict(weights, assign=True)
    except (OSError, RuntimeError, KeyError) as error:
        raise CheckpointProblem(f"Upscaler '{entry.name}' cannot be loaded: {error}") from error
    return Upscaler(net.to(device, dtype).eval().requires_grad_(False), entry.scale)


def _net(entry: UpscalerEntry, weights: Mapping[str, Tensor]) -> nn.Module:
    if entry.architecture is Architecture.COMPACT:
        return CompactNet(entry.features, entry.blocks, entry.scale)
    growth = len(weights["body.0.rdb1.conv1.weight"])
    if entry.architecture is Architecture.RRDB_OLD:
        return RRDBNet(entry.features, growth, entry.blocks, doublings=entry.scale.bit_length() - 1)
    return RRDBNet(entry.features, growth, entry.blocks, folds={4: 0, 2: 1, 1: 2}[entry.scale])


def _present_name(name: str, entry: UpscalerEntry) -> str:
    """The current name of a tensor of the first ESRGAN files."""
    doublings = entry.scale.bit_length() - 1
    modules = {"0": "conv_first", f"1.sub.{entry.blocks}": "conv_body"}
    modules |= {str(3 * (i + 1)): f"conv_up{i + 1}" for i in range(doublings)}
    modules |= {str(3 * doublings + 2): "conv_hr", str(3 * doublings + 4): "conv_last"}
    module, kind = name.removeprefix("model.").rsplit(".", 1)
    if module in modules:
        return f"{modules[module]}.{kind}"
    block, dense, convolution = module.removeprefix("1.sub.").split(".")[:3]
    return f"body.{block}.{dense.lower()}.{convolution}.{kind}"
