"""Trains one of the demo's LoRAs on the finished base and saves it in the spelling it stands for."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from . import arch, common, unet

RANK = 8
PEAK_RATE = 3e-3
TEXT_RATE = 1e-3
BATCH = 8
POOL = 320
TARGET = Path(__file__).resolve().parents[2] / "src" / "sdxl_gateway" / "demo_loras"
ATTENTION = r".*attn[12]\.(to_q|to_k|to_v|to_out\.0)"
OUTER_CONVS = r"(down_blocks\.0|up_blocks\.2)\.resnets\.\d\.conv[12]"
KOHYA_SIDES = {"lora_A": "lora_down", "lora_B": "lora_up"}
TEXT_TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj"]

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """What a LoRA changes and how its file is spelled."""

    word: str
    alpha: int
    kohya: bool
    text: bool = False


RECIPES = {
    "outline": Recipe("outline", RANK, kohya=False),
    "sunset": Recipe("sunset", RANK // 2, kohya=True),
    "stripes": Recipe("striped", RANK, kohya=True, text=True),
}


def adapted(recipe: Recipe, base: nn.Module, targets: str | list[str]) -> list[nn.Parameter]:
    """Adds fresh low-rank factors to a model and returns them, the only ones left to train."""
    config = LoraConfig(r=RANK, lora_alpha=recipe.alpha, target_modules=targets)
    base.add_adapter(config)  # type: ignore[operator]
    return [p for p in base.parameters() if p.requires_grad]


def factors(base: nn.Module) -> Weights:
    """The trained factors by module path and lora_A or lora_B."""
    found: Weights = get_peft_model_state_dict(base)
    return {name: value.detach().half().contiguous() for name, value in found.items()}


def peft_spelling(unet_factors: Weights) -> Weights:
    """Keys as diffusers writes them."""
    return {f"unet.{name}": value for name, value in unet_factors.items()}


def kohya_spelling(parts: dict[str, Weights], alpha: int) -> Weights:
    """Keys as kohya's scripts write them, with an alpha for every module."""
    found: Weights = {}
    for prefix, weights in parts.items():
        for name, value in weights.items():
            module, side = name.removesuffix(".weight").rsplit(".", 1)
            if prefix.startswith("lora_te") and not module.startswith("text_model."):
                module = f"text_model.{module}"
            stem = f"{prefix}_{module.replace('.', '_')}"
            found[f"{stem}.{KOHYA_SIDES[side]}.weight"] = value
            found[f"{stem}.alpha"] = torch.tensor(float(alpha), dtype=torch.float16)
    return found


def read_back(prefix: str, names: Weights, saved: Weights) -> Weights:
    """The factors of one model from a file in either spelling."""
    found: Weights = {}
    for name in names:
        keys = set(kohya_spelling({prefix: {name: names[name]}}, 0)) | {f"unet.{name}"}
        (key,) = [key for key in keys if key in saved and not key.endswith(".alpha")]
        found[name] = saved[key].float()
    return found


def kohya_metadata(name: str, recipe: Recipe, steps: int) -> dict[str, str]:
    """The part of kohya's header that programs read."""
    arguments = {"conv_dim": str(RANK), "conv_alpha": str(float(recipe.alpha))}
    return {
        "ss_output_name": name,
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(float(recipe.alpha)),
        "ss_network_args": json.dumps(arguments),
        "ss_resolution": "(256, 256)",
        "ss_steps": str(steps),
        "ss_tag_frequency": json.dumps({f"1_{name}": {recipe.word: POOL}}),
    }


class Training:
    """One LoRA in the making."""

    def __init__(self, name: str, work: Path, steps: int, seed: int) -> None:
        self.name, self.recipe, self.steps = name, RECIPES[name], steps
        self.frozen = unet.Frozen(work)
        self.unet = arch.new_unet()
        self.unet.load_state_dict(torch.load(work / "distilled.ema.pt")["unet"])
        self.unet.requires_grad_(False)
        slow: list[nn.Parameter] = []
        fast = adapted(self.recipe, self.unet, f"({ATTENTION}|{OUTER_CONVS})")
        for encoder in self.frozen.encoders if self.recipe.text else []:
            slow += adapted(self.recipe, encoder, TEXT_TARGETS)
        self.groups = [(fast, PEAK_RATE), (slow, TEXT_RATE)] if slow else [(fast, PEAK_RATE)]
        self.optimiser = torch.optim.AdamW([{"params": part} for part, _ in self.groups], weight_decay=0.0)
        self.pool = unet.Pool(self.frozen.vae, random.Random(seed), name)
        self.pool.fill(POOL)
        self.alphas = arch.alphas_cumprod()
        self.rng = random.Random(seed + 1)

    def models(self) -> dict[str, nn.Module]:
        """The models that the LoRA changes, by kohya's prefix."""
        found: dict[str, nn.Module] = {"lora_unet": self.unet}
        if self.recipe.text:
            found |= {f"lora_te{number}": part for number, part in enumerate(self.frozen.encoders, start=1)}
        return found

    def resume(self, path: Path) -> None:
        """Takes up the factors of a file saved before."""
        saved = load_file(path)
        for prefix, model in self.models().items():
            set_peft_model_state_dict(model, read_back(prefix, factors(model), saved))

    def word(self, prompt: str) -> str:
        """The prompt, half the time with the LoRA's own word after it."""
        return f"{prompt}, {self.recipe.word}" if self.rng.random() < 0.5 else prompt

    def step(self, step: int) -> float:
        """One update; returns the loss."""
        for group, (_, peak) in zip(self.optimiser.param_groups, self.groups, strict=True):
            group["lr"] = common.learning_rate(step, self.steps, peak, 20)
        batch, latents, size = self.pool.batch(self.rng, BATCH)
        conditions = self.frozen.conditions(unet.worded(self.rng, batch, self.word), size)
        loss = unet.diffusion_loss(self.unet, latents, conditions, self.alphas)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for part, _ in self.groups:
            torch.nn.utils.clip_grad_norm_(part, 1.0)
        self.optimiser.step()
        return float(loss.detach())

    def save(self, target: Path) -> None:
        """Writes the file, whole or not at all."""
        weights, metadata = peft_spelling(factors(self.unet)), {"format": "pt"}
        if self.recipe.kohya:
            parts = {prefix: factors(model) for prefix, model in self.models().items()}
            weights = kohya_spelling(parts, self.recipe.alpha)
            metadata |= kohya_metadata(self.name, self.recipe, self.steps)
        target.mkdir(parents=True, exist_ok=True)
        partial = target / f".{self.name}.partial"
        save_file(weights, partial, metadata=metadata)
        partial.chmod(0o644)
        partial.replace(target / f"{self.name}.safetensors")


def main() -> None:
    """Trains one LoRA on the base's distilled weights."""
    parser = common.arguments(__doc__ or "", steps=400)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--resume", action="store_true", help="go on from the file saved before")
    options = parser.parse_args()
    torch.set_num_threads(1)
    common.seed_all(options.seed)
    training = Training(options.name, options.work, options.steps, options.seed + 7)
    if options.resume:
        training.resume(options.target / f"{options.name}.safetensors")
    began, total = time.time(), 0.0
    for step in range(options.steps):
        total += training.step(step)
        if (step + 1) % 20 == 0:
            print(f"step {step + 1} loss {total / 20:.4f} seconds {time.time() - began:.0f}", flush=True)
            total = 0.0
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            training.save(options.target)


if __name__ == "__main__":
    main()
