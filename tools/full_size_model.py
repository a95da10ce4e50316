"""Takes an empty folder, fills it with an SDXL checkpoint of the real size and random weights, about 7 GB in bfloat16.

    python -m tools.full_size_model FOLDER [--dtype float16]
    python -m tools.full_size_model FILE.safetensors [--dtype float16]     as one file, in the original layout

Weights go to disk a few megabytes at a time, so that writing takes next to no memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping
from math import prod, sqrt
from pathlib import Path
from typing import Any, BinaryIO

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.catalog.single_file.layout import sdxl_tensors
from sdxl_gateway.config import DEMO_MODEL

POOL_NUMBERS = 2**22
DTYPES = {"bfloat16": ("BF16", torch.bfloat16), "float16": ("F16", torch.float16), "float32": ("F32", torch.float32)}

UNET = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE = {
    "sample_size": 1024,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}
CLIP_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
OPEN_CLIP_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
CLIP = {"vocab_size": 49408, "max_position_embeddings": 77}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write_full_size_model(folder: Path, dtype: str = "bfloat16", seed: int = 0) -> None:
    """A diffusers folder with the layout of the published SDXL base model; its tokenizers are the demo model's."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = _pool(seed)
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel.from_config(UNET), AutoencoderKL.from_config(VAE)
        encoders = {
            "text_encoder": CLIPTextModel(_clip_config("text_encoder", CLIP_L)),
            "text_encoder_2": CLIPTextModelWithProjection(_clip_config("text_encoder_2", OPEN_CLIP_G)),
        }
    for name, model in {"unet": unet, "vae": vae}.items():
        model.save_config(folder / name)
        _write_weights(model, folder / name / "diffusion_pytorch_model.safetensors", dtype, pool)
    for name, encoder in encoders.items():
        encoder.config.save_pretrained(folder / name)
        _write_weights(encoder, folder / name / "model.safetensors", dtype, pool)
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(DEMO_MODEL / name, folder / name, dirs_exist_ok=True)
    EulerDiscreteScheduler.from_config(SCHEDULER).save_config(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2), "utf-8")


def write_full_size_file(path: Path, dtype: str = "bfloat16", seed: int = 0) -> None:
    """One file with the layout of the published SDXL base model."""
    _write_tensors(sdxl_tensors(), path, dtype, _pool(seed))


def _pool(seed: int) -> Tensor:
    return torch.randn(POOL_NUMBERS, generator=torch.Generator().manual_seed(seed))


def _clip_config(name: str, size: Mapping[str, Any]) -> Any:
    """The token ids are the demo tokenizer's."""
    demo = json.loads((DEMO_MODEL / name / "config.json").read_text("utf-8"))
    tokens = {key: demo[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    architecture = {"architectures": demo["architectures"]}
    return CLIPTextConfig(**CLIP, **size, **tokens, **architecture)


def _write_weights(model: nn.Module, path: Path, dtype: str, pool: Tensor) -> None:
    shapes = {_published(name, model): tuple(t.shape) for name, t in model.named_parameters()}
    _write_tensors(shapes, path, dtype, pool)


def _write_tensors(shapes: Mapping[str, tuple[int, ...]], path: Path, dtype: str, pool: Tensor) -> None:
    code, torch_dtype = DTYPES[dtype]
    with path.open("wb") as file:
        _write_header(file, shapes, code, torch_dtype.itemsize)
        for place, (name, shape) in enumerate(shapes.items()):
            for chunk in _values(name, shape, pool.roll(place * 997)):
                file.write(chunk.to(torch_dtype).view(torch.uint8).numpy().data)


def _published(name: str, model: nn.Module) -> str:
    """Published text encoders carry a level that newer versions of transformers leave out."""
    bare = isinstance(model, CLIPTextModel) and not name.startswith("text_model.")
    return f"text_model.{name}" if bare else name


def _write_header(file: BinaryIO, shapes: Mapping[str, tuple[int, ...]], code: str, itemsize: int) -> None:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * itemsize
        entries[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)


def _values(name: str, shape: tuple[int, ...], pool: Tensor) -> Iterator[Tensor]:
    """Norms do nothing, biases are 0, and everything else keeps the size of what passes through it."""
    if len(shape) == 1:
        yield torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
        return
    scale = 0.02 if "embedding" in name else 0.5 / sqrt(prod(shape[1:]))
    scaled, left = pool * scale, prod(shape)
    while left > 0:
        yield scaled[:left]
        left -= len(scaled)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16")
    arguments = parser.parse_args()
    write = write_full_size_file if arguments.folder.suffix == ".safetensors" else write_full_size_model
    write(arguments.folder, arguments.dtype)


if __name__ == "__main__":
    main()
