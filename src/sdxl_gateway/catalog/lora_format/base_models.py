"""Recognizes the family of models a LoRA was made for, by names, shapes and metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sdxl_gateway.catalog.safetensors_header import Header

CROSS_ATTENTION_FAMILIES = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    1280: "the SDXL refiner",
    2048: "SDXL",
}
FOREIGN_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("Flux", re.compile(r"(^|[._])(double_blocks|single_blocks|single_transformer_blocks)[._]\d")),
    ("Stable Diffusion 3", re.compile(r"(^|[._])joint_blocks[._]\d")),
    ("Stable Cascade", re.compile(r"^lora_(prior|stage_c)_")),
    ("Qwen-Image", re.compile(r"transformer_blocks[._]\d+[._]img_(mlp|mod)")),
    (
        "Stable Diffusion 3",
        re.compile(r"^(transformer|lora_transformer)[._]transformer_blocks[._]\d+[._].*add_[kqv]_proj"),
    ),
    ("a text encoder SDXL does not have (T5 or Llama)", re.compile(r"^(lora_te3_|text_encoder_3\.|text_encoders\.t5)")),
    ("a diffusion transformer", re.compile(r"^(transformer\.|lora_transformer_|diffusion_model\.(layers|blocks)\.\d)")),
    ("a diffusion transformer", re.compile(r"^lora_unet_(blocks|layers|transformer_blocks)_\d")),
    ("a video model", re.compile(r"(^|[._])motion_modules[._]\d")),
)
_METADATA_FAMILIES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("Flux", re.compile(r"flux", re.IGNORECASE)),
    ("Stable Diffusion 3", re.compile(r"sd3|stable-diffusion-3", re.IGNORECASE)),
    ("Stable Diffusion 2.x", re.compile(r"^sd_v2|stable-diffusion-v2", re.IGNORECASE)),
    ("Stable Diffusion 1.x", re.compile(r"^sd_v1|^sd_1\.|stable-diffusion-v1", re.IGNORECASE)),
    ("SDXL", re.compile(r"sdxl|stable-diffusion-xl|pony|illustrious|noobai", re.IGNORECASE)),
)
_CROSS_ATTENTION = re.compile(
    r"attn2[._](?:processor\.)?to_[kv](?:_lora)?\."
    r"(?:lora_|lora\.|lora_linear_layer\.)?(?:down\.weight|A(?:\.\w+)?\.weight|hada_w1_b|diff)\Z"
)


def foreign_family(keys: Mapping[str, object]) -> str | None:
    """The family with such layer names, if an SDXL model cannot have them."""
    for name, pattern in FOREIGN_NAMES:
        if any(pattern.search(key) for key in keys):
            return name
    return None


def cross_attention_width(header: Header) -> int | None:
    """The width of the text features that the file's cross-attention layers read; None if it changes none."""
    for key, tensor in header.tensors.items():
        if len(tensor.shape) >= 2 and _CROSS_ATTENTION.search(key):
            return tensor.shape[1]
    return None


def told_family(metadata: Mapping[str, str]) -> str | None:
    """The family by the file's metadata; only a hint, since they may say anything."""
    for key in ("modelspec.architecture", "ss_base_model_version"):
        text = metadata.get(key, "")[:200]
        for name, pattern in _METADATA_FAMILIES if text else ():
            if pattern.search(text):
                return name
    return None


def family_by_width(header: Header, own_width: int | None) -> str | None:
    """The family of the file's cross-attention width, if that differs from the checkpoint's."""
    width = cross_attention_width(header)
    if width is None or width == own_width:
        return None
    return CROSS_ATTENTION_FAMILIES.get(width, f"a model with text features {width} wide")


def base_family(header: Header) -> str | None:
    """The file's family by its shapes, or else by its metadata."""
    width = cross_attention_width(header)
    return CROSS_ATTENTION_FAMILIES.get(width or 0) or told_family(header.metadata)
