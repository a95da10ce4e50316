"""Takes the demo checkpoint, gives a refiner's folder like it, its shapes other where a real refiner's are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from sdxl_gateway.config import DEMO_MODEL

SHIFT = 0.2
"""Added to what the UNet predicts, so that its steps are told from the demo's own."""


def write_demo_refiner(folder: Path) -> Path:
    """One text encoder, the second, and an aesthetic score in place of the target size."""
    left_out = shutil.ignore_patterns("text_encoder", "tokenizer")
    shutil.copytree(DEMO_MODEL, folder, ignore=left_out)
    width = _read(folder / "text_encoder_2" / "config.json")["hidden_size"]
    unet = _read(folder / "unet" / "config.json")
    inputs = unet["projection_class_embeddings_input_dim"] - unet["addition_time_embed_dim"]
    sizes = {"cross_attention_dim": width, "projection_class_embeddings_input_dim": inputs}
    _change(folder / "unet" / "config.json", sizes)
    _narrow(folder / "unet" / "diffusion_pytorch_model.safetensors", width, inputs)
    kind = {"_class_name": "StableDiffusionXLImg2ImgPipeline", "requires_aesthetics_score": True}
    _change(folder / "model_index.json", kind | {"text_encoder": [None, None], "tokenizer": [None, None]})
    return folder


def _narrow(path: Path, width: int, inputs: int) -> None:
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            tensors[name] = tensor[:, -width:].contiguous()
    embedding = "add_embedding.linear_1.weight"
    tensors[embedding] = tensors[embedding][:, :inputs].contiguous()
    tensors["conv_out.bias"] = tensors["conv_out.bias"] + SHIFT
    save_file(tensors, path, metadata={"format": "pt"})


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8")))


def _change(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps(_read(path) | changes), "utf-8")
