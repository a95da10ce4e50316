"""Takes LoRA files, fuses them into diffusers' own pipeline as its manual says, gives the seconds that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch

from benchmarks.engines import Look, Place, Stopwatch
from sdxl_gateway.engine.device import DTYPES


class FusingPipeline:
    """StableDiffusionXLPipeline on a device; one LoRA at a time."""

    def __init__(self, folder: Path, place: Place) -> None:
        diffusers.logging.set_verbosity_error()
        diffusers.logging.disable_progress_bar()
        self._device = torch.device(place.device)
        pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(
            folder, dtype=DTYPES[place.dtype], use_safetensors=True, local_files_only=True
        )
        self._pipeline: Any = pipeline.to(self._device)

    def paint(self, look: Look) -> float:
        """Seconds of a whole picture, by Euler, as the pipeline paints it; each time the same prompt."""
        watch = Stopwatch(self._device)
        self._pipeline(
            prompt="lighthouse at dusk",
            num_inference_steps=look.steps,
            guidance_scale=look.guidance,
            width=look.side,
            height=look.side,
        )
        return watch.seconds()

    def put_on(self, path: Path) -> float:
        """Seconds of loading and fusing; taking it off again is not counted. The file is in the system's memory."""
        path.read_bytes()
        watch = Stopwatch(self._device)
        self._pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="one")
        self._pipeline.fuse_lora(adapter_names=["one"])
        seconds = watch.seconds()
        self._pipeline.unfuse_lora()
        self._pipeline.unload_lora_weights()
        return seconds
