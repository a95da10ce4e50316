"""Trains the demo's UNet on a growing pool of encoded scenes, with gradients averaged over processes."""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from . import arch, common, scenes, text

PEAK_RATE = 1e-3
FIRST_POOL = 384
FULL_POOL = 4000
GROWTH = 1
CANVAS_SHARES = (0.85, 0.075, 0.075)
EMPTY_SHARE = 0.1
HIGH_NOISE_SHARE = 0.3
WEIGHT_LIMIT = 6.0
THING_DEVIATION = 0.3
THING_WEIGHT_LIMIT = 6.0
PORT = "29511"

Size = tuple[int, int]


class Pool:
    """Scenes and their latents, sorted by canvas."""

    def __init__(self, vae: AutoencoderKL, rng: random.Random, style: str = "flat") -> None:
        self.vae, self.rng, self.style = vae, rng, style
        self.kept: dict[Size, list[scenes.Scene]] = {size: [] for size in scenes.CANVASES}
        self.latents: dict[Size, list[torch.Tensor]] = {size: [] for size in scenes.CANVASES}

    def __len__(self) -> int:
        return sum(len(kept) for kept in self.kept.values())

    @torch.no_grad()
    def grow(self, count: int) -> None:
        """Draws and encodes more scenes, all on one canvas."""
        size = self.rng.choices(scenes.CANVASES, weights=CANVAS_SHARES)[0]
        fresh = [scenes.training_scene(self.rng) for _ in range(count)]
        pictures = np.stack([scenes.picture_of(self.rng, scene, size, self.style) for scene in fresh])
        latents = self.vae.encode(common.to_tensor(pictures)).latent_dist.mean
        self.kept[size] += fresh
        self.latents[size] += list((latents * self.vae.config.scaling_factor).half())

    def fill(self, count: int) -> None:
        """Grows until there are enough scenes."""
        while len(self) < count:
            self.grow(8)

    def batch(self, rng: random.Random, count: int) -> tuple[list[scenes.Scene], torch.Tensor, Size]:
        """Some scenes of one canvas with their latents."""
        filled = [size for size in scenes.CANVASES if self.kept[size]]
        size = rng.choices(filled, weights=CANVAS_SHARES[: len(filled)])[0]
        picks = [rng.randrange(len(self.kept[size])) for _ in range(count)]
        latents = torch.stack([self.latents[size][k] for k in picks]).float()
        return [self.kept[size][k] for k in picks], latents, size

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"kept": self.kept, "latents": self.latents, "rng": self.rng.getstate()}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of state."""
        self.kept, self.latents = state["kept"], state["latents"]
        self.rng.setstate(state["rng"])


class Frozen:
    """The trained parts that the UNet learns with."""

    def __init__(self, work: Path) -> None:
        self.tokenizers = text.load_tokenizers(work)
        self.vae = AutoencoderKL.from_pretrained(work / "vae").eval()
        self.encoders: list[nn.Module] = [
            CLIPTextModel.from_pretrained(work / "text_encoder").eval(),
            CLIPTextModelWithProjection.from_pretrained(work / "text_encoder_2").eval(),
        ]
        for module in (self.vae, *self.encoders):
            module.requires_grad_(False)

    def conditions(self, prompts: list[str], size: Size) -> dict[str, Any]:
        """The UNet's keyword arguments for some prompts at one picture size."""
        ids = [text.token_ids(tokenizer, prompts) for tokenizer in self.tokenizers]
        states, pooled = text.encode(self.encoders, ids)
        width, height = size
        times = torch.tensor([[height, width, 0, 0, height, width]] * len(prompts), dtype=torch.float32)
        return {"encoder_hidden_states": states, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": times}}


def thing_weights(latents: torch.Tensor) -> torch.Tensor:
    """Weights (n, 1, h, w) of mean 1 at most that give a picture's things as much of the loss as its background.

    A small star covers a twentieth of the latents: unweighted, its shape hardly counts. The least of the weighted error
    is where the least of the plain error is, since both are taken point by point.
    """
    behind = (latents[:, :, 2, 2] + latents[:, :, 2, -3])[:, :, None, None] / 2
    thing = ((latents - behind).abs().amax(dim=1, keepdim=True) > THING_DEVIATION).float()
    thing = functional.pad(thing[:, :, 2:-2, 2:-2], (2, 2, 2, 2))
    thing = functional.max_pool2d(thing, 3, stride=1, padding=1)
    share = thing.mean(dim=(1, 2, 3), keepdim=True).clamp(0.5 / THING_WEIGHT_LIMIT, 0.9)
    return 0.5 * thing / share + 0.5 * (1 - thing) / (1 - share)


def random_times(count: int) -> torch.Tensor:
    """Timesteps, uniform but for a share that is drawn from the noisy end."""
    uniform = torch.randint(0, 1000, (count,))
    noisy = torch.randint(750, 1000, (count,))
    return torch.where(torch.rand(count) < HIGH_NOISE_SHARE, noisy, uniform)


def diffusion_loss(
    unet: nn.Module, latents: torch.Tensor, conditions: dict[str, Any], alphas: torch.Tensor
) -> torch.Tensor:
    """The v-prediction error, weighted down where there is almost no noise."""
    mixed, times, velocity = noised(latents, alphas)
    found = unet(mixed, times, **conditions).sample
    return weighted_error(found, velocity, latents, alphas[times])


def noised(latents: torch.Tensor, alphas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents at random timesteps, the timesteps, and the velocities that lead back."""
    times = random_times(len(latents))
    share = alphas[times].view(-1, 1, 1, 1)
    signal, noise_level = share.sqrt(), (1 - share).sqrt()
    noise = torch.randn_like(latents)
    return signal * latents + noise_level * noise, times, signal * noise - noise_level * latents


def weighted_error(
    found: torch.Tensor, wanted: torch.Tensor, latents: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    """The mean square error, things and background alike, less where `share` says that there is almost no noise."""
    weight = (WEIGHT_LIMIT * (1 - share)).clamp(max=1.0)
    error: torch.Tensor = ((found - wanted).pow(2) * thing_weights(latents)).mean(dim=(1, 2, 3)) * weight
    return error.mean()


def worded(rng: random.Random, batch: list[scenes.Scene], word: Callable[[str], str] = str) -> list[str]:
    """A wording of each scene, some of them empty."""
    return ["" if rng.random() < EMPTY_SHARE else word(scenes.random_prompt(rng, scene)) for scene in batch]


def average_gradients(parameters: list[nn.Parameter], ranks: int) -> None:
    """Replaces every gradient by its mean over the processes."""
    if ranks == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    parts = torch.split(flat / ranks, [grad.numel() for grad in grads])
    for grad, mean in zip(grads, parts, strict=True):
        grad.copy_(mean.view_as(grad))


class Training:
    """One process's share of the training."""

    name = "unet"
    peak_rate = PEAK_RATE

    def __init__(self, rank: int, options: argparse.Namespace) -> None:
        self.rank, self.options = rank, options
        self.frozen = Frozen(options.work)
        torch.manual_seed(options.seed)
        self.unet: UNet2DConditionModel = arch.new_unet()
        self.parameters = list(self.unet.parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.peak_rate, betas=(0.9, 0.99), weight_decay=0.01)
        self.ema = common.Ema(self.parameters, decay=0.998)
        self.pool = Pool(self.frozen.vae, random.Random(options.seed * 100 + rank + 1))
        self.alphas = arch.alphas_cumprod()
        self.start = 0
        self._resume()

    def _resume(self) -> None:
        work = self.options.work
        if (work / f"{self.name}.pt").exists():
            state = torch.load(work / f"{self.name}.pt", weights_only=False)
            self.unet.load_state_dict(state["unet"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.ema.shadow, self.start = state["ema"], state["step"]
        if (work / f"pool.{self.rank}.pt").exists():
            self.pool.load(torch.load(work / f"pool.{self.rank}.pt", weights_only=False))
        self.pool.fill(FIRST_POOL)

    def loss(self, prompts: list[str], latents: torch.Tensor, size: Size) -> torch.Tensor:
        """What the training makes small."""
        return diffusion_loss(self.unet, latents, self.frozen.conditions(prompts, size), self.alphas)

    def step(self, step: int, rng: random.Random) -> float:
        """One update; returns this process's loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = common.learning_rate(step, self.options.steps, self.peak_rate)
        if len(self.pool) < FULL_POOL:
            self.pool.grow(GROWTH)
        batch, latents, size = self.pool.batch(rng, self.options.batch)
        loss = self.loss(worded(rng, batch), latents, size)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.parameters, self.options.ranks)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.ema.update(step)
        return float(loss.detach())

    def save(self, step: int) -> None:
        """Saves this process's pool, and once the weights and their average."""
        work = self.options.work
        common.save_atomic(self.pool.state(), work / f"pool.{self.rank}.pt")
        if self.rank:
            return
        state = {"unet": self.unet.state_dict(), "optimiser": self.optimiser.state_dict()}
        common.save_atomic({**state, "ema": self.ema.shadow, "step": step}, work / f"{self.name}.pt")
        self.ema.swap()
        common.save_atomic({"unet": self.unet.state_dict(), "step": step}, work / f"{self.name}.ema.pt")
        self.ema.swap()

    def run(self) -> None:
        """Trains to the last step, saving on the way."""
        rng = random.Random(self.options.seed * 100 + self.rank + 11 + self.start)
        torch.manual_seed(self.options.seed * 100 + self.rank + 11 + self.start)
        began, total = time.time(), 0.0
        for step in range(self.start, self.options.steps):
            total += self.step(step, rng)
            if (step + 1) % 50 == 0 and self.rank == 0:
                print(f"step {step + 1} loss {total / 50:.4f} seconds {time.time() - began:.0f}", flush=True)
                total = 0.0
            if (step + 1) % 200 == 0 or step + 1 == self.options.steps:
                self.save(step + 1)


def worker(rank: int, training: type[Training], options: argparse.Namespace) -> None:
    """One process of a training."""
    torch.set_num_threads(1)
    if options.ranks > 1:
        os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": PORT})
        dist.init_process_group("gloo", rank=rank, world_size=options.ranks)
    training(rank, options).run()
    if options.ranks > 1:
        dist.destroy_process_group()


def run(about: str, training: type[Training], steps: int) -> None:
    """Trains from the last checkpoint, or from the start, in as many processes as the command line asks."""
    parser = common.arguments(about, steps=steps)
    parser.add_argument("--ranks", type=int, default=2, help="single-threaded processes")
    parser.add_argument("--batch", type=int, default=16, help="pictures per process and step")
    options = parser.parse_args()
    mp.spawn(worker, args=(training, options), nprocs=options.ranks)  # type: ignore[attr-defined,no-untyped-call]


if __name__ == "__main__":
    run(__doc__ or "", Training, steps=4200)
