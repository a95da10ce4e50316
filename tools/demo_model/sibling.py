"""What a sibling of the demo is trained with: the demo as it ships, frozen, drawings in its latents, and the loop."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from sdxl_gateway.config import DEMO_MODEL

from . import arch, common, evaluate, scenes

SIBLINGS = Path(__file__).resolve().parent / "siblings"
SIDE = 256
TOLD_EVERY = 50
KEPT_EVERY = 250
ENCODED_AT_ONCE = 16

Conditions = dict[str, Any]


class Noised(NamedTuple):
    """Latents (n, 4, h, w) with noise, their timesteps (n,), and the velocities (n, 4, h, w) that lead back."""

    latents: torch.Tensor
    times: torch.Tensor
    velocity: torch.Tensor


class Demo:
    """The demo's parts, in float32, which learn nothing."""

    def __init__(self) -> None:
        self.pipeline = evaluate.load_pipeline(DEMO_MODEL)
        for part in (self.pipeline.unet, self.pipeline.vae, self.pipeline.text_encoder, self.pipeline.text_encoder_2):
            part.requires_grad_(False)
        self.unet: Any = self.pipeline.unet
        self.alphas = arch.alphas_cumprod()

    @torch.no_grad()
    def latents(self, pictures: Sequence[scenes.Picture]) -> torch.Tensor:
        """What the autoencoder makes of pictures of one size, (n, 4, h / 8, w / 8)."""
        parts = [pictures[k : k + ENCODED_AT_ONCE] for k in range(0, len(pictures), ENCODED_AT_ONCE)]
        return torch.cat([self._encoded(part) for part in parts])

    def _encoded(self, pictures: Sequence[scenes.Picture]) -> torch.Tensor:
        vae = self.pipeline.vae
        means = vae.encode(common.to_tensor(np.stack(pictures))).latent_dist.mean
        return torch.as_tensor(means * vae.config.scaling_factor)

    @torch.no_grad()
    def told(self, prompts: list[str]) -> Conditions:
        """The UNet's keyword arguments for some prompts."""
        states, _, pooled, _ = self.pipeline.encode_prompt(prompts, do_classifier_free_guidance=False)
        times = torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]] * len(prompts), dtype=torch.float32)
        return {"encoder_hidden_states": states, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": times}}

    def noised(self, latents: torch.Tensor, times: torch.Tensor) -> Noised:
        """Latents at these timesteps, and what the demo is to say of them."""
        share = self.alphas[times].view(-1, 1, 1, 1)
        signal, level = share.sqrt(), (1 - share).sqrt()
        noise = torch.randn_like(latents)
        return Noised(signal * latents + level * noise, times, signal * noise - level * latents)


def times_from(count: int, low: int, high: int, share: float) -> torch.Tensor:
    """Timesteps: `share` of them, on average, from `low` to below `high`, the others uniform."""
    uniform, chosen = torch.randint(0, 1000, (count,)), torch.randint(low, high, (count,))
    return torch.where(torch.rand(count) < share, chosen, uniform)


def train(groups: list[dict[str, Any]], loss: Callable[[], torch.Tensor], steps: int, keep: Callable[[], None]) -> None:
    """Makes `loss` small with Adam; calls `keep` now and then, and at the end, while the parameters are their averages.

    Each group has its own peak rate, `peak`.
    """
    optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01)
    parameters: list[nn.Parameter] = [one for group in groups for one in group["params"]]
    ema, began, losses = common.Ema(parameters, decay=0.99), time.time(), list[float]()
    for step in range(1, steps + 1):
        losses.append(_stepped(optimiser, parameters, loss, step / steps))
        ema.update(step)
        if step % TOLD_EVERY == 0:
            print(f"step {step} loss {np.mean(losses[-TOLD_EVERY:]):.4f} seconds {time.time() - began:.0f}", flush=True)
        if step % KEPT_EVERY == 0 or step == steps:
            ema.swap()
            keep()
            ema.swap()


def _stepped(
    optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Callable[[], torch.Tensor], done: float
) -> float:
    """One update, `done` of them being done with it; its loss."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * min(1.0, 20 * done) * (0.03 + 0.97 * (1 + math.cos(math.pi * done)) / 2)
    found = loss()
    optimiser.zero_grad()
    found.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()
    return float(found.detach())


def begun_as(net: nn.Module, model: nn.Module) -> None:
    """Copies into `net` every tensor that `model` has by the same name and shape."""
    own, given = net.state_dict(), model.state_dict()
    same = {name: given[name] for name, value in own.items() if name in given and given[name].shape == value.shape}
    net.load_state_dict(same, strict=False)


def picked(rng: random.Random, held: int, count: int) -> list[int]:
    """Of a pool of so many, the numbers of a batch."""
    return [rng.randrange(held) for _ in range(count)]
