"""Writes a small random IP-Adapter for the demo's UNet, plain or plus, and its image encoder."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from sdxl_gateway.config import IpAdapter
from sdxl_gateway.core.picture import Inputs, Picture, reference_role
from sdxl_gateway.core.recipe import ImagePrompt
from sdxl_gateway.engine.models.image_prompts import IP_ADAPTER
from tests.kit.admission import demo
from tests.kit.engine import Studio

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
Tensors = dict[str, Tensor]
SIDE = 32
HIDDEN, PROJECTED, TEXT = 48, 40, 160
QUERIES, INNER = 6, 128
ENCODER = CLIPVisionConfig(
    hidden_size=HIDDEN,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=SIDE,
    patch_size=8,
    projection_dim=PROJECTED,
)


def section(folder: Path, *, plus: bool = False, weight: float = 0.6) -> IpAdapter:
    """The settings of an adapter and its encoder, which are written to the folder."""
    folder.mkdir(exist_ok=True)
    path, encoder = folder / "adapter.safetensors", folder / "image_encoder"
    save_file(adapter_tensors(plus=plus), path)
    write_encoder(encoder)
    return IpAdapter(path=str(path), image_encoder=str(encoder), weight=weight)


def write_encoder(folder: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        CLIPVisionModelWithProjection(ENCODER).save_pretrained(folder)


def adapter_tensors(*, plus: bool = False) -> Tensors:
    """Named as trainers do; strong enough to change a picture visibly."""
    generator = torch.Generator().manual_seed(12)
    shapes = {**(plus_shapes() if plus else plain_shapes()), **layer_shapes()}
    return {name: _random(name, shape, generator) for name, shape in shapes.items()}


def _random(name: str, shape: Shape, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        return around + 0.1 * drawn
    return drawn * ((3.0 if "_ip." in name else 1.0) / sqrt(shape[-1]))


def plain_shapes(numbers: int = PROJECTED, text: int = TEXT) -> Shapes:
    return {
        "image_proj.proj.weight": (4 * text, numbers),
        "image_proj.proj.bias": (4 * text,),
        **dict(_norm("image_proj.norm", text)),
    }


def plus_shapes(
    numbers: int = HIDDEN, text: int = TEXT, *, queries: int = QUERIES, width: int = 64, inner: int = INNER
) -> Shapes:
    return {
        "image_proj.latents": (1, queries, width),
        "image_proj.proj_in.weight": (width, numbers),
        "image_proj.proj_in.bias": (width,),
        "image_proj.proj_out.weight": (text, width),
        "image_proj.proj_out.bias": (text,),
        **dict(_norm("image_proj.norm_out", text)),
        **{name: shape for layer in range(4) for name, shape in _layer(f"image_proj.layers.{layer}", width, inner)},
    }


def _layer(prefix: str, width: int, inner: int) -> Iterator[tuple[str, Shape]]:
    for norm in ("0.norm1", "0.norm2", "1.0"):
        yield from _norm(f"{prefix}.{norm}", width)
    yield f"{prefix}.0.to_q.weight", (inner, width)
    yield f"{prefix}.0.to_kv.weight", (2 * inner, width)
    yield f"{prefix}.0.to_out.weight", (width, inner)
    yield f"{prefix}.1.1.weight", (4 * width, width)
    yield f"{prefix}.1.3.weight", (width, 4 * width)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def layer_shapes() -> Shapes:
    """The shapes for the demo's cross-attentions, in the order of its UNet's processors."""
    blocks = ("unet.down_blocks", "unet.up_blocks", "unet.mid_block")
    widths = [
        shape[0]
        for block in blocks
        for name, shape in demo().shapes.items()
        if name.startswith(block) and name.endswith("attn2.to_q")
    ]
    return {
        f"ip_adapter.{2 * index + 1}.{what}.weight": (width, TEXT)
        for index, width in enumerate(widths)
        for what in ("to_k_ip", "to_v_ip")
    }


def image_prompt(room: Studio, *weights: float) -> ImagePrompt:
    """An image prompt of as many pictures as weights, in the roles of `referenced`, for the engine's adapter."""
    (digest,) = room.engine._pool.loaders[IP_ADAPTER].names
    return ImagePrompt("adapter", digest, weights)


def referenced(*pictures: Picture, **others: Picture) -> Inputs:
    """The pictures of an image prompt in their roles, and others such as `image` and `mask`."""
    return Inputs(others | {reference_role(index): picture for index, picture in enumerate(pictures)})
