"""Trains a small RRDBNet that enlarges the demo's pictures four times, on drawn scenes alone, and writes its file."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import smooth_l1_loss

from sdxl_gateway.engine.models.upscalers import RRDBNet

from . import common, scenes

SCALE = 4
FEATURES, GROWTH, BLOCKS = 16, 8, 1
COLOURS = range(3)
SIDE = 24
"""Pixels of each side of what a step enlarges."""
BATCH, POOL = 6, 256
BETA = 0.05
"""Errors above it count as they are, smaller ones by their square."""
PEAK_RATE = 6e-4
MARGIN = 0.2
"""How much a picture's scene may be larger than those the demo paints, along each side, or smaller."""
TARGET = Path(__file__).resolve().parent / "siblings" / "upscaler.safetensors"
SHRINKERS = (Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
Pair = tuple[scenes.Picture, scenes.Picture]


def shrunk(large: scenes.Picture, how: Image.Resampling) -> Image.Image:
    """A fourth as large along each side."""
    height, width = (side // SCALE for side in large.shape[:2])
    return Image.fromarray(large).resize((width, height), how)


def worn(picture: Image.Image, rng: random.Random) -> scenes.Picture:
    """A little soft and noisy, as paintings are."""
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.5))), np.float32)
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, rng.uniform(0, 2.5), soft.shape)
    return np.clip(soft + noise + 0.5, 0, 255).astype(np.uint8)


def part_of(rng: random.Random, scene: scenes.Scene) -> scenes.Picture:
    """What lies around a point of a shape's edge, of the scene drawn four times as large as the demo paints."""
    whole = round(256 * SCALE * rng.uniform(1 - MARGIN, 1 + MARGIN))
    placed = scenes.place(rng, scene, whole, whole)
    item, side = rng.choice(placed), SIDE * SCALE
    across, down = rng.choice(scenes.outline_points(item.thing.shape))
    left, top = (
        at + item.radius * way - side * rng.uniform(0.2, 0.8) for at, way in ((item.x, across), (item.y, down))
    )
    moved = [scenes.Placed(one.thing, one.x - left, one.y - top, one.radius) for one in placed]
    return scenes.draw(moved, scene.background, (side, side), rng.choices(scenes.STYLES, (7, 1, 1, 1))[0])


def training_pair(rng: random.Random) -> Pair:
    """A part of a scene that is not held out, worn and small, and as it was drawn."""
    large = part_of(rng, scenes.training_scene(rng))
    return worn(shrunk(large, rng.choice(SHRINKERS)), rng), large


def pixels_of(pictures: list[scenes.Picture]) -> torch.Tensor:
    """(n, 3, h, w), 0 to 1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def new_net() -> nn.Module:
    """A net that enlarges without smoothing: what it has to learn are edges, not what a picture is."""
    net = RRDBNet(FEATURES, GROWTH, BLOCKS)
    with torch.no_grad():
        for name in ("conv_first", "conv_up1", "conv_up2", "conv_hr", "conv_last"):
            _passing_colours_on(getattr(net, name))
        for values in net.conv_body.parameters():
            values[: len(COLOURS)].zero_()
    return net


def _passing_colours_on(layer: nn.Conv2d) -> None:
    layer.weight[: len(COLOURS)].zero_()
    layer.bias[: len(COLOURS)].zero_()  # type: ignore[index]
    for colour in COLOURS:
        layer.weight[colour, colour, 1, 1] = 1.0


def turned(rng: random.Random, pair: Pair) -> Pair:
    """Both alike: mirrored, turned by quarters, in other colours."""
    quarters, mirrored, colours = rng.randrange(4), rng.random() < 0.5, rng.sample(COLOURS, 3)
    small, large = (np.rot90(one[:, ::-1] if mirrored else one, quarters)[..., colours] for one in pair)
    return small, large


def train(steps: int, seed: int) -> nn.Module:
    """The averaged net after so many steps."""
    rng, net = common.seed_all(seed), new_net()
    optimiser = torch.optim.Adam(net.parameters(), lr=PEAK_RATE)
    ema = common.Ema(net.parameters(), decay=0.99)
    pool = [training_pair(rng) for _ in range(POOL)]
    began, total = time.time(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = common.learning_rate(step, steps, PEAK_RATE)
        small, large = zip(*(turned(rng, rng.choice(pool)) for _ in range(BATCH)), strict=True)
        loss = smooth_l1_loss(net(pixels_of(list(small))), pixels_of(list(large)), beta=BETA)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        ema.update(step)
        total += float(loss.detach())
        if (step + 1) % 50 == 0:
            print(f"step {step + 1} loss {total / 50:.5f} seconds {time.time() - began:.0f}", flush=True)
            total = 0.0
    ema.swap()
    return net.eval()


def main() -> None:
    """Trains and writes the file, in half precision, by the names of Real-ESRGAN's."""
    options = common.arguments(__doc__ or "", steps=900).parse_args()
    torch.set_num_threads(1)
    net = train(options.steps, options.seed)
    TARGET.parent.mkdir(exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in net.state_dict().items()}, TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
