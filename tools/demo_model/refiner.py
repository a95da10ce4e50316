"""Trains a small refiner that takes the last steps of the demo's pictures, on drawn scenes, and writes its UNet."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from sdxl_gateway.config import DEMO_MODEL

from . import arch, common, scenes, sibling

TARGET = sibling.SIBLINGS / "refiner"
POOL, BATCH = 480, 4
BELOW = 400
"""The timestep below which it is taught: it may be asked for four tenths of a run."""
SPOILT_FROM, SPOILT_STEPS = 560, 7
RATE = 2e-3
SCORE = 6.0
"""What diffusers tells a refiner of the picture it is to make."""
CHANNELS = (32, 64)


def new_unet(demo: Any) -> UNet2DConditionModel:
    """Two levels where the demo has three; of texts it reads what the second encoder says, and a score for a size."""
    config = {name: value for name, value in demo.config.items() if not name.startswith("_")} | {
        "block_out_channels": CHANNELS,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 1],
        "attention_head_dim": [2, 4],
        "cross_attention_dim": arch.HIDDEN_2,
        "projection_class_embeddings_input_dim": 5 * 8 + arch.POOLED,
    }
    net = UNet2DConditionModel.from_config(config)
    sibling.begun_as(net, demo)
    return net


class Lesson:
    """Pictures with the noise of the last steps, and the net that is to take it away.

    What the demo does wrong, edges that wave and colours that stray, is noise to it too, at most as large as the demo
    leaves it at the first of these steps: a picture that the demo began gets smoother edges and even colours.
    """

    def __init__(self, seed: int) -> None:
        self.rng, self.demo = common.seed_all(seed), sibling.Demo()
        self.net = new_unet(self.demo.unet)
        self.scenes = [scenes.training_scene(self.rng, 0.2) for _ in range(POOL)]
        size = (sibling.SIDE, sibling.SIDE)
        self.latents = self.demo.latents([scenes.picture_of(self.rng, scene, size) for scene in self.scenes])
        self.told = refiners_told(self.demo, [scenes.random_prompt(self.rng, scene) for scene in self.scenes])
        self.spoilt = torch.cat([self._spoilt(range(k, k + BATCH)) for k in range(0, POOL, BATCH)])

    @torch.no_grad()
    def _spoilt(self, picks: range) -> torch.Tensor:
        """What the demo makes of pictures of which it sees little more than where things lie."""
        times = torch.full((len(picks),), SPOILT_FROM)
        told = self.demo.told([scenes.random_prompt(self.rng, self.scenes[k]) for k in picks])
        mixed = self.demo.noised(self.latents[picks.start : picks.stop], times).latents
        for k in range(SPOILT_STEPS):
            now, left = (self.demo.alphas[SPOILT_FROM - SPOILT_FROM * n // SPOILT_STEPS] for n in (k, k + 1))
            velocity = self.demo.unet(mixed, times - SPOILT_FROM * k // SPOILT_STEPS, **told).sample
            clean = now.sqrt() * mixed - (1 - now).sqrt() * velocity
            noise = (1 - now).sqrt() * mixed + now.sqrt() * velocity
            mixed = left.sqrt() * clean + (1 - left).sqrt() * noise
        return torch.as_tensor(clean)

    def loss(self) -> torch.Tensor:
        """What a batch of the pool costs: the error of the picture that is left when all noise is gone."""
        picks = sibling.picked(self.rng, POOL, BATCH)
        times = torch.randint(0, BELOW, (BATCH,))
        share, most = self.demo.alphas[times].view(-1, 1, 1, 1), self.demo.alphas[BELOW]
        latents = self.latents[picks]
        wrong = (self.spoilt[picks] - latents) * (most / (1 - most)).sqrt()
        noise = torch.randn_like(latents) + wrong * torch.rand(BATCH, 1, 1, 1)
        velocity = share.sqrt() * noise - (1 - share).sqrt() * latents
        found = self.net(share.sqrt() * latents + (1 - share).sqrt() * noise, times, **self._told(picks)).sample
        error: torch.Tensor = (found - velocity).pow(2).mean()
        return error

    def _told(self, picks: list[int]) -> sibling.Conditions:
        added = {name: value[picks] for name, value in self.told["added_cond_kwargs"].items()}
        return {"encoder_hidden_states": self.told["encoder_hidden_states"][picks], "added_cond_kwargs": added}

    def keep(self) -> None:
        """Writes the folder, in half precision."""
        deepcopy(self.net).half().save_pretrained(TARGET)


def refiners_told(demo: sibling.Demo, prompts: list[str]) -> sibling.Conditions:
    """A refiner's keyword arguments for some prompts."""
    told = demo.told(prompts)
    times = torch.tensor([[sibling.SIDE, sibling.SIDE, 0, 0, SCORE]] * len(prompts), dtype=torch.float32)
    return {
        "encoder_hidden_states": told["encoder_hidden_states"][..., -arch.HIDDEN_2 :],
        "added_cond_kwargs": {**told["added_cond_kwargs"], "time_ids": times},
    }


def write_folder(folder: Path) -> Path:
    """The UNet with the parts of the demo that are a refiner's too, as a server reads them; gives `folder`."""
    left_out = shutil.ignore_patterns("text_encoder", "tokenizer", "unet")
    shutil.copytree(DEMO_MODEL, folder, ignore=left_out)
    shutil.copytree(TARGET, folder / "unet")
    index = folder / "model_index.json"
    without = {"text_encoder": [None, None], "tokenizer": [None, None], "requires_aesthetics_score": True}
    index.write_text(json.dumps(json.loads(index.read_text("utf-8")) | without), "utf-8")
    return folder


def main() -> None:
    """Trains and writes the folder."""
    options = common.arguments(__doc__ or "", steps=1000).parse_args()
    torch.set_num_threads(1)
    lesson = Lesson(options.seed)
    groups = [{"params": list(lesson.net.parameters()), "peak": RATE}]
    sibling.train(groups, lesson.loss, options.steps, lesson.keep)
    print(sum(path.stat().st_size for path in TARGET.iterdir()), "bytes")


if __name__ == "__main__":
    main()
