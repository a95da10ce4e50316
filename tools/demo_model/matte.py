"""Trains the demo's matte net on drawn scenes, whose alpha is known, and writes it as an ONNX file of U2-Net's kind."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from . import common, scenes

SIDE = 256
"""Pixels of each side of what the net reads and gives."""
WIDTHS = (16, 24, 32, 40, 48)
STAGES = ((0.65, 128, 16), (0.35, SIDE, 6))
"""Share of the steps, side of the pictures and how many of them a step takes."""
STYLES = {"flat": 6.0, "stripes": 2.0, "sunset": 1.5, "outline": 1.0}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PEAK_RATE = 3e-3
TARGET = Path(__file__).resolve().parents[2] / "src" / "sdxl_gateway" / "demo_matte" / "matte.onnx"
Pair = tuple[scenes.Picture, scenes.Mask]


def drawn_pair(rng: random.Random, scene: scenes.Scene, size: tuple[int, int], style: str = "flat") -> Pair:
    """A picture of the scene and its alpha, 0 to 1."""
    placed = scenes.place(rng, scene, *size)
    alpha = np.zeros((size[1], size[0]), dtype=np.float32)
    for item in placed:
        stroke = 5.0 + 0.09 * item.radius if style == "outline" else 0.0
        mask = scenes.shape_mask(item.thing.shape, item.x, item.y, item.radius, size, stroke)
        alpha = 1 - (1 - alpha) * (1 - mask)
    return scenes.draw(placed, scene.background, size, style), alpha


def squared(pair: Pair, side: int) -> Pair:
    """Both stretched to a square, as the server does it."""
    picture = Image.fromarray(pair[0]).resize((side, side), Image.Resampling.BILINEAR)
    alpha = Image.fromarray(pair[1]).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(picture), np.asarray(alpha)


def training_pair(rng: random.Random, side: int) -> Pair:
    """A scene that is not held out, drawn in a random style on a random canvas."""
    style = rng.choices(list(STYLES), weights=list(STYLES.values()))[0]
    size = rng.choice(scenes.CANVASES)
    return squared(drawn_pair(rng, scenes.training_scene(rng), size, style), side)


def dented(both: torch.Tensor) -> torch.Tensor:
    """Pictures and what belongs to them (n, channels, h, w), pulled here and there by a few hundredths of a side."""
    n, _, height, width = both.shape
    upright = torch.eye(2, 3).expand(n, 2, 3)
    where = functional.affine_grid(upright, [n, 1, height, width], align_corners=False)
    pull = functional.interpolate(torch.randn(n, 2, 10, 10), (height, width), mode="bicubic") * 0.04
    where = where + pull.permute(0, 2, 3, 1) * torch.rand(n, 1, 1, 1)
    return functional.grid_sample(both, where, padding_mode="border", align_corners=False)


def worn(pictures: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, h, w) from 0 to 1 as a model paints them: other colours, blotches, soft, noisy, with rims."""
    n, _, height, width = pictures.shape
    pictures = pictures[:, torch.randperm(3)] if torch.rand(()) < 0.3 else pictures
    gain, shift = 0.75 + 0.25 * torch.rand(n, 3, 1, 1), 0.25 * torch.rand(n, 3, 1, 1)
    blotches = functional.interpolate(torch.randn(n, 3, 17, 17), (height, width), mode="bicubic") * 0.08
    share = torch.rand(n, 1, 1, 1)
    pictures = (pictures + (softened(pictures, 3) - pictures) * share) * gain + shift * (1 - gain) * 4
    near = softened(alpha, 5)
    rim = 4 * near * (1 - near) * 0.7 * torch.rand(n, 1, 1, 1) * (torch.rand(n, 1, 1, 1) < 0.5)
    pictures = pictures + (torch.rand(n, 3, 1, 1) - pictures) * rim
    noisy = pictures + blotches * torch.rand(n, 1, 1, 1) + torch.randn_like(pictures) * 0.02 * torch.rand(n, 1, 1, 1)
    return noisy.clamp(0, 1)


def softened(pictures: torch.Tensor, side: int) -> torch.Tensor:
    """Each pixel the mean of a square of so many."""
    edge = side // 2
    return functional.avg_pool2d(functional.pad(pictures, (edge, edge, edge, edge), mode="replicate"), side, 1)


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """As nets of the U2-Net kind read them."""
    return (pictures - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def block(inside: int, outside: int) -> nn.Sequential:
    """Two convolutions of 3x3."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
        nn.Conv2d(outside, outside, 3, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


class MatteNet(nn.Module):
    """A small U-Net on 2x2 squares of pixels: (n, 3, h, w) normalised to logits (n, 1, h, w); sides in 32s."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(block(a, b) for a, b in zip((12, *WIDTHS), WIDTHS, strict=False))
        self.up = nn.ModuleList(block(a + b, a) for a, b in pairwise(WIDTHS))
        self.last = nn.Conv2d(WIDTHS[0] + 12, 4, 3, padding=1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The logits of alpha."""
        squares = functional.pixel_unshuffle(pictures, 2)
        kept: list[torch.Tensor] = []
        x = squares
        for layer in self.down:
            x = layer(functional.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        for layer, beside in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = layer(torch.cat([beside, functional.interpolate(x, scale_factor=2.0, mode="nearest")], 1))
        return functional.pixel_shuffle(self.last(torch.cat([x, squares], 1)), 2)


def loss_of(net: MatteNet, pairs: list[Pair]) -> torch.Tensor:
    """Cross entropy, and what is missing of the overlap for each picture, so that small shapes count."""
    pictures = torch.from_numpy(np.stack([picture for picture, _ in pairs])).permute(0, 3, 1, 2).float() / 255
    alpha = torch.from_numpy(np.stack([alpha for _, alpha in pairs]))[:, None]
    both = dented(torch.cat([pictures, alpha], 1))
    pictures, wanted = both[:, :3], both[:, 3:]
    logits = net(normalised(worn(pictures, wanted)))
    seen = logits.sigmoid()
    common_part = (seen * wanted).sum((1, 2, 3))
    dice = 1 - (2 * common_part + 1) / (seen.sum((1, 2, 3)) + wanted.sum((1, 2, 3)) + 1)
    loss: torch.Tensor = functional.binary_cross_entropy_with_logits(logits, wanted) + 0.5 * dice.mean()
    return loss


def stage_of(step: int, steps: int) -> tuple[int, int]:
    """Side and number of the pictures of a step."""
    share, side, batch = STAGES[0]
    return (side, batch) if step < share * steps else STAGES[1][1:]


def train(steps: int, seed: int) -> MatteNet:
    """The averaged net after so many steps."""
    rng, net = common.seed_all(seed), MatteNet()
    optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=1e-4)
    began, total = time.time(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = common.learning_rate(step, steps, PEAK_RATE, warmup=30)
        side, batch = stage_of(step, steps)
        loss = loss_of(net, [training_pair(rng, side) for _ in range(batch)])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach())
        if (step + 1) % 25 == 0:
            print(f"step {step + 1} loss {total / 25:.4f} seconds {time.time() - began:.0f}", flush=True)
            total = 0.0
    return net.eval()


class Probabilities(nn.Module):
    """The net as the file holds it: a sigmoid at its end, as U2-Net's files have it."""

    def __init__(self, net: MatteNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Alpha, 0 to 1."""
        return torch.sigmoid(self.net(pictures))


def export(net: MatteNet, path: Path) -> None:
    """Writes the file; batch normalisation is folded into the convolutions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Probabilities(net),
        (torch.zeros(1, 3, SIDE, SIDE),),
        path,
        input_names=["input"],
        output_names=["alpha"],
        opset_version=17,
        dynamo=False,
    )


def main() -> None:
    """Trains and writes the file."""
    options = common.arguments(__doc__ or "", steps=760).parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    net = train(options.steps, options.seed)
    common.save_atomic(net.state_dict(), options.work / "matte.pt")
    export(net, TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
