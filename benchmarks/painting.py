"""Takes a recipe's words, gives pictures: over HTTP from a server, or from diffusers' pipeline in this process."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image

from sdxl_gateway.config import DEMO_MODEL, Settings

PROMPT = "a large red circle left of a small blue square"
SIDE = 256
STEPS = 20
REQUEST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to be painted."""

    model: str = "demo"
    seed: int = 1
    steps: int = STEPS

    def body(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "prompt": PROMPT,
            "seed": self.seed,
            "steps": self.steps,
            "size": f"{SIDE}x{SIDE}",
            "sampler": "euler",
            "response_format": "b64_json",
        }


def default_guidance() -> float:
    """What the gateway paints the demo model with when a request does not say; every side of a comparison does."""
    told = Settings().checkpoints["demo"].guidance_scale
    if told is None:
        raise RuntimeError("the demo checkpoint is configured without a guidance scale")
    return told


def opened(answer: httpx.Response) -> Image.Image:
    """The picture of a reply. Raises httpx.HTTPStatusError for any other."""
    answer.raise_for_status()
    return decoded(answer.json()["data"][0]["b64_json"])


def decoded(base64_file: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(base64_file)))
    image.load()
    return image


def timed_request(client: httpx.Client, order: Order) -> float:
    """Seconds from asking to holding the pixels."""
    start = time.perf_counter()
    image = opened(client.post("/v1/images/generations", json=order.body()))
    seconds = time.perf_counter() - start
    if image.size != (SIDE, SIDE):
        raise RuntimeError(f"asked for {SIDE}x{SIDE}, got {image.size}")
    return seconds


class BarePipeline:
    """diffusers' StableDiffusionXLPipeline with nothing around it."""

    def __init__(self, threads: int) -> None:
        import diffusers
        import torch
        import transformers

        for library in (diffusers, transformers):
            library.logging.set_verbosity_error()
            library.logging.disable_progress_bar()
        torch.set_num_threads(threads)
        self._torch = torch
        self._guidance = default_guidance()
        self._pipeline: Any = diffusers.StableDiffusionXLPipeline.from_pretrained(
            DEMO_MODEL, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        self._pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config(self._pipeline.scheduler.config)
        self._pipeline.set_progress_bar_config(disable=True)

    def timed(self, order: Order) -> float:
        start = time.perf_counter()
        self.paint(order)
        return time.perf_counter() - start

    def paint(self, order: Order) -> Image.Image:
        image: Image.Image = self._pipeline(
            prompt=PROMPT,
            num_inference_steps=order.steps,
            guidance_scale=self._guidance,
            width=SIDE,
            height=SIDE,
            generator=self._torch.Generator("cpu").manual_seed(order.seed),
        ).images[0]
        return image

    def load(self, directory: str, names: Iterable[str]) -> None:
        """Each LoRA as an adapter of its own name."""
        for name in names:
            self._pipeline.load_lora_weights(directory, weight_name=f"{name}.safetensors", adapter_name=name)

    def unload(self) -> None:
        self._pipeline.unload_lora_weights()

    def paint_with(self, order: Order, weights: Mapping[str, float]) -> Image.Image:
        """With these of the loaded LoRAs."""
        self._pipeline.set_adapters(list(weights), list(weights.values()))
        return self.paint(order)
