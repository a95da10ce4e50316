"""Trains the demo's autoencoder on crops of drawn scenes and measures its scaling factor."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch.nn import functional

from . import arch, common, scenes

POOL = 1200
CROPS = ((48, 32, 0.55), (96, 8, 0.3), (256, 1, 0.15))
KL_WEIGHT = 1e-6
PEAK_RATE = 1.5e-3


def picture_pool(rng: random.Random, count: int) -> np.ndarray:
    """Square pictures in every style, more than half of them flat."""
    pictures = []
    for _ in range(count):
        style = rng.choices(scenes.STYLES, weights=(5, 1.3, 2, 1.7))[0]
        scene = scenes.training_scene(rng, pair_share=0.6)
        pictures.append(scenes.picture_of(rng, scene, (256, 256), style))
    return np.stack(pictures)


def edge_points(picture: np.ndarray, limit: int = 200) -> np.ndarray:
    """Some pixels (row, column) where neighbouring rows or columns differ."""
    values = picture.astype(np.int16)
    across = np.abs(np.diff(values, axis=1)).max(axis=2)[:-1]
    down = np.abs(np.diff(values, axis=0)).max(axis=2)[:, :-1]
    points = np.argwhere(np.maximum(across, down) > 24)
    if not len(points):
        return np.array([[128, 128]])
    return points[:: max(1, len(points) // limit)]


def crop(rng: random.Random, picture: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
    """A crop that mostly holds an edge, sometimes flipped."""
    row, column = points[rng.randrange(len(points))] if rng.random() < 0.85 else (128, 128)
    span = picture.shape[0] - size
    top = min(max(0, int(row) - rng.randrange(size)), span)
    left = min(max(0, int(column) - rng.randrange(size)), span)
    part = picture[top : top + size, left : left + size]
    return part[:, ::-1] if rng.random() < 0.5 else part


def random_batch(rng: random.Random, pool: np.ndarray, points: list[np.ndarray]) -> torch.Tensor:
    """A batch of crops of one size, recoloured by mixing channels now and then."""
    size, count, _ = rng.choices(CROPS, weights=[share for *_, share in CROPS])[0]
    picks = [rng.randrange(len(pool)) for _ in range(count)]
    return common.to_tensor(np.stack([crop(rng, pool[k], points[k], size) for k in picks]))


def loss_of(vae: AutoencoderKL, batch: torch.Tensor) -> torch.Tensor:
    """L1 and squared error with a very small pull towards a unit Gaussian."""
    posterior = vae.encode(batch).latent_dist
    back = vae.decode(posterior.sample()).sample
    error = functional.l1_loss(back, batch) + functional.mse_loss(back, batch)
    pull: torch.Tensor = posterior.kl().sum() / batch[:, 0].numel() * 64
    return error + KL_WEIGHT * pull


@torch.no_grad()
def scaling_factor(vae: AutoencoderKL, pool: np.ndarray) -> float:
    """One over the standard deviation of the latents of some pictures."""
    latents = vae.encode(common.to_tensor(pool[:64])).latent_dist.mean
    return 1.0 / float(latents.std())


@torch.no_grad()
def report(vae: AutoencoderKL, pool: np.ndarray, path: Path) -> float:
    """Saves pictures beside their reconstructions and returns the signal-to-noise ratio in dB."""
    real = common.to_tensor(pool[:16])
    back = vae.decode(vae.encode(real).latent_dist.mean).sample
    pairs = np.concatenate([pool[:16], common.to_pictures(back)], axis=1)
    Image.fromarray(common.grid(pairs, 8)).save(path)
    error = functional.mse_loss(back.clamp(-1, 1), real)
    return float(10 * torch.log10(4 / error))


def save(vae: AutoencoderKL, pool: np.ndarray, work: Path) -> None:
    """Saves the averaged weights with the scaling factor that they call for."""
    vae.register_to_config(scaling_factor=round(scaling_factor(vae, pool), 5))
    vae.save_pretrained(work / "vae")


def main() -> None:
    """Trains from the last checkpoint, or from nothing."""
    options = common.arguments(__doc__ or "", steps=6000).parse_args()
    torch.set_num_threads(1)
    rng = common.seed_all(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    vae = arch.new_vae().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    ema = common.Ema(vae.parameters(), decay=0.997)
    checkpoint, start = options.work / "vae.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        vae.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        ema.shadow, start = state["ema"], state["step"]
    pool = picture_pool(rng, POOL)
    points = [edge_points(picture) for picture in pool]
    check = picture_pool(random.Random(options.seed + 1), 64)
    rng = random.Random(options.seed + start)
    began = time.time()
    total = 0.0
    for step in range(start, options.steps):
        for group in optimiser.param_groups:
            group["lr"] = common.learning_rate(step, options.steps, PEAK_RATE)
        batch = random_batch(rng, pool, points).contiguous(memory_format=torch.channels_last)
        loss = loss_of(vae, batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        ema.update(step)
        total += float(loss.detach())
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} loss {total / 100:.4f} seconds {time.time() - began:.0f}", flush=True)
            total = 0.0
        if (step + 1) % 500 == 0 or step + 1 == options.steps:
            ema.swap()
            print(f"snr {report(vae, check, options.work / 'vae.png'):.2f} dB", flush=True)
            save(vae, check, options.work)
            ema.swap()
            state = {"model": vae.state_dict(), "optimiser": optimiser.state_dict()}
            common.save_atomic({**state, "ema": ema.shadow, "step": step + 1}, checkpoint)


if __name__ == "__main__":
    main()
