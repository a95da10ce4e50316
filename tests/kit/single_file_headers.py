"""Files of SDXL's full size and of other families, with headers only: their data is a hole, which takes no space."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path

from sdxl_gateway.catalog.safetensors_header import DTYPE_BYTES

Shape = tuple[int, ...]

V1 = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}
V2 = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "cond_stage_model.model.transformer.resblocks.0.ln_1.weight": (1024,),
}
SD3 = {
    "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536),
    "text_encoders.clip_g.transformer.text_model.embeddings.token_embedding.weight": (49408, 1280),
}
FLUX = {"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}
LORA = {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (8, 1280), "x.alpha": ()}
PEFT_LORA = {"unet.mid_block.attentions.0.proj_in.lora_A.weight": (8, 1280)}
VAE = {"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, 4, 3, 3)}
FLUX_VAE = {"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, 16, 3, 3)}
CONTROLNET = {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "down_blocks.0.resnets.0.norm1.weight": (320,)}
EMBEDDING = {"clip_l": (4, 768), "clip_g": (4, 1280)}
UNET = {"down_blocks.0.resnets.0.norm1.weight": (320,)}
IP_ADAPTER = {"image_proj.proj.weight": (8192, 1280), "ip_adapter.1.to_k_ip.weight": (640, 2048)}
UPSCALER = {"conv_first.weight": (64, 3, 3, 3)}


def write_holes(
    path: Path,
    shapes: Mapping[str, Shape],
    *,
    dtype: str = "F16",
    metadata: Mapping[str, str] | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> Path:
    """A file of these tensors; `dtypes` are those of single ones."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name, shape in shapes.items():
        own = (dtypes or {}).get(name, dtype)
        start, end = end, end + prod(shape) * DTYPE_BYTES[own]
        entries[name] = {"dtype": own, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path
