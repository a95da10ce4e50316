"""Trains a small ControlNet that has the demo paint its shapes where edges are, on drawn scenes, and writes it."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image
from torch import nn

from sdxl_gateway.pictures.canny import canny

from . import common, scenes, sibling, unet

TARGET = sibling.SIBLINGS / "edges"
POOL, BATCH = 960, 4
COPIED_RATE, NEW_RATE = 8e-4, 2e-3
"""Peaks: of what begins as the UNet's own first half, and of what begins as nothing."""
NEW = ("controlnet_cond_embedding.", "controlnet_down_blocks.", "controlnet_mid_block.")
CHANNELS = (8, 16, 24, 32)
"""Of the layers that read the map, of which SDXL's own have eight times as many."""
NOISY_FROM, NOISY_SHARE = 700, 0.8
"""Where shapes find their places is decided above this timestep, so most of what is learnt lies there."""
EMPTY_SHARE = 0.25
LOUDNESS = 1.5
SINGLE_RADII, PAIR_RADII = (0.16, 0.36), (0.12, 0.2)


@dataclass(frozen=True)
class Drawing:
    """A scene, drawn with its things anywhere, and the edges of the drawing, 0 or 1, three times."""

    scene: scenes.Scene
    picture: scenes.Picture
    edges: scenes.Picture


def strewn(rng: random.Random, scene: scenes.Scene) -> list[scenes.Placed]:
    """The things away from where their prompt alone would put them, in any size."""
    low, high = PAIR_RADII if scene.relation else SINGLE_RADII
    return [_strewn(rng, one, rng.uniform(low, high) * sibling.SIDE) for one in _placed(rng, scene)]


def _placed(rng: random.Random, scene: scenes.Scene) -> list[scenes.Placed]:
    return scenes.place(rng, scene, sibling.SIDE, sibling.SIDE)


def _strewn(rng: random.Random, one: scenes.Placed, radius: float) -> scenes.Placed:
    room, high = sibling.SIDE / 2 - radius, sibling.SIDE - radius
    x, y = (min(max(at + rng.uniform(-0.8, 0.8) * room, radius), high) for at in (one.x, one.y))
    return scenes.Placed(one.thing, x, y, radius)


def drawing(rng: random.Random, scene: scenes.Scene) -> Drawing:
    """Of one scene; its edges are what the server's own preprocessor finds."""
    picture = scenes.draw(strewn(rng, scene), scene.background, (sibling.SIDE, sibling.SIDE))
    edges = np.asarray(canny(Image.fromarray(picture)).convert("RGB"), np.uint8) // 255
    return Drawing(scene, picture, edges)


def maps_of(drawings: list[Drawing]) -> torch.Tensor:
    """(n, 3, h, w), 0 or 1."""
    return torch.from_numpy(np.stack([one.edges for one in drawings])).permute(0, 3, 1, 2).float()


def new_net(demo: Any) -> ControlNetModel:
    """The first half of the UNet, with one layer of attention where it has two, and layers that read a map."""
    taken = ("block_out_channels", "down_block_types", "attention_head_dim", "norm_num_groups", "cross_attention_dim")
    told = ("addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim")
    config = {name: demo.config[name] for name in (*taken, *told, "use_linear_projection")}
    net = ControlNetModel(**config, transformer_layers_per_block=1, conditioning_embedding_out_channels=CHANNELS)
    sibling.begun_as(net, demo)
    _hear(net.controlnet_cond_embedding)
    return net


@torch.no_grad()
def _hear(reader: nn.Module) -> None:
    """Lets a map of thin lines through from the first step on, of which hardly anything would be left."""
    layers = [layer for layer in reader.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layer.weight *= LOUDNESS


class Lesson:
    """A ControlNet that begins as the first half of the demo's UNet, and what it is taught with."""

    def __init__(self, seed: int) -> None:
        self.rng, self.demo = common.seed_all(seed), sibling.Demo()
        self.net = new_net(self.demo.unet)
        self.drawings = [drawing(self.rng, scenes.training_scene(self.rng, 0.3)) for _ in range(POOL)]
        self.latents = self.demo.latents([one.picture for one in self.drawings])

    def groups(self) -> list[dict[str, Any]]:
        """The parameters with their peak rates."""
        new = [value for name, value in self.net.named_parameters() if name.startswith(NEW)]
        copied = [value for name, value in self.net.named_parameters() if not name.startswith(NEW)]
        return [{"params": copied, "peak": COPIED_RATE}, {"params": new, "peak": NEW_RATE}]

    def loss(self) -> torch.Tensor:
        """What a batch of the pool costs."""
        picks = sibling.picked(self.rng, POOL, BATCH)
        drawings, latents = [self.drawings[k] for k in picks], self.latents[picks]
        times = sibling.times_from(BATCH, NOISY_FROM, 1000, NOISY_SHARE)
        mixed, _, velocity = self.demo.noised(latents, times)
        told = self.demo.told([self.worded(one.scene) for one in drawings])
        down, mid = self.net(mixed, times, controlnet_cond=maps_of(drawings), return_dict=False, **told)
        found = self.demo.unet(
            mixed, times, down_block_additional_residuals=down, mid_block_additional_residual=mid, **told
        ).sample
        return unet.weighted_error(found, velocity, latents, self.demo.alphas[times])

    def worded(self, scene: scenes.Scene) -> str:
        """A prompt of the scene, or none: edges alone must do then."""
        return "" if self.rng.random() < EMPTY_SHARE else scenes.random_prompt(self.rng, scene)

    def keep(self) -> None:
        """Writes the folder, in half precision."""
        deepcopy(self.net).half().save_pretrained(TARGET)


def main() -> None:
    """Trains and writes the folder."""
    options = common.arguments(__doc__ or "", steps=1500).parse_args()
    torch.set_num_threads(1)
    lesson = Lesson(options.seed)
    sibling.train(lesson.groups(), lesson.loss, options.steps, lesson.keep)
    print(sum(path.stat().st_size for path in TARGET.iterdir()), "bytes")


if __name__ == "__main__":
    main()
