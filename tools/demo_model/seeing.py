"""Teaches a small image encoder what the demo's drawings show, so that an adapter has something to read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from . import scenes, sibling

VISION = CLIPVisionConfig(
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=64,
    patch_size=16,
    projection_dim=48,
)
BATCH, STEPS, RATE = 64, 1200, 2e-3
COLOURS = list(scenes.PALETTE)


@dataclass(frozen=True)
class Drawings:
    """Scenes with one thing each, their pictures, and these as the encoder is shown them, (n, 3, side, side)."""

    told: list[scenes.Scene]
    pictures: list[scenes.Picture]
    pixels: Tensor


def drawings(rng: random.Random, count: int) -> Drawings:
    """That many, of scenes that are not held out."""
    found = [scenes.training_scene(rng, 0.0) for _ in range(count)]
    pictures = [scenes.picture_of(rng, scene, (sibling.SIDE, sibling.SIDE)) for scene in found]
    return Drawings(found, pictures, pixels_of(pictures))


def pixels_of(pictures: Sequence[scenes.Picture]) -> Tensor:
    """(n, 3, side, side), as the encoder is shown pictures by diffusers and by the server."""
    show = CLIPImageProcessor(size=VISION.image_size, crop_size=VISION.image_size)
    return torch.cat([show(Image.fromarray(one), return_tensors="pt").pixel_values for one in pictures])


def names_of(found: Sequence[scenes.Scene]) -> Tensor:
    """(n, 4): the numbers of the thing's shape, size and colour, and of the background's colour."""
    return torch.tensor([_names(one.things[0], one.background) for one in found])


def _names(thing: scenes.Thing, behind: str) -> list[int]:
    named = [scenes.SHAPES.index(thing.shape), scenes.SIZES.index(thing.size)]
    return [*named, COLOURS.index(thing.colour), COLOURS.index(behind)]


def taught(shown: Drawings, steps: int = STEPS) -> CLIPVisionModelWithProjection:
    """An encoder from whose embeddings (n, 48) a linear layer tells shape, size and both colours."""
    encoder = CLIPVisionModelWithProjection(VISION)
    counts = [len(scenes.SHAPES), len(scenes.SIZES), len(COLOURS), len(COLOURS)]
    teller = nn.Linear(VISION.projection_dim, sum(counts))
    names = names_of(shown.told)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *teller.parameters()], lr=RATE)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        picks = torch.randint(0, len(names), (BATCH,))
        said = teller(encoder(shown.pixels[picks]).image_embeds).split(counts, dim=1)
        loss = torch.stack([functional.cross_entropy(one, names[picks, k]) for k, one in enumerate(said)]).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rates.step()
    print(f"encoder: {float(loss.detach()):.3f} left of what drawings show")
    return encoder
