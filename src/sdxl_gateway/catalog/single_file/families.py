"""Recognizes the family of a model by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from sdxl_gateway.catalog.model_files import TEXT, TEXT_2, UNET, VAE


class Family(StrEnum):
    """What a safetensors file holds, in words that complete "this is ..."."""

    SDXL = "an SDXL checkpoint"
    REFINER = "the SDXL refiner"
    PLAYGROUND = "Playground 2.5, whose noise is scaled in its own way"
    COSXL = "CosXL, whose noise is scaled in its own way"
    SD1 = "a Stable Diffusion 1.x checkpoint"
    SD2 = "a Stable Diffusion 2.x checkpoint"
    SD3 = "a Stable Diffusion 3 model"
    FLUX = "a Flux model"
    LORA = "a LoRA"
    CONTROLNET = "a ControlNet"
    IP_ADAPTER = "an IP-Adapter"
    EMBEDDING = "a textual inversion"
    UNET = "a UNet alone, without its text encoders"
    VAE = "a VAE alone"
    UNKNOWN = "not a model known here"


UNET_PREFIX = "model.diffusion_model."
CLIP_L_PREFIX = "conditioner.embedders.0.transformer."
CLIP_G_PREFIX = "conditioner.embedders.1.model."
REFINER_CLIP_G_PREFIX = "conditioner.embedders.0.model."
VAE_PREFIX = "first_stage_model."

PREFIXES: Mapping[Family, Mapping[str, str]] = {
    Family.SDXL: {UNET: UNET_PREFIX, TEXT: CLIP_L_PREFIX, TEXT_2: CLIP_G_PREFIX, VAE: VAE_PREFIX},
    Family.REFINER: {UNET: UNET_PREFIX, TEXT_2: REFINER_CLIP_G_PREFIX, VAE: VAE_PREFIX},
}
"""The prefixes of each component's tensors, for the families of whole checkpoints that can be served."""

_UNET = rf"(?:{re.escape(UNET_PREFIX)})?"
# The order matters: a pattern only decides if none before it matches.
_SIGNS = tuple(
    (family, re.compile(pattern))
    for family, pattern in (
        (Family.LORA, r".*(?:[._]lora[._](?:down|up|mid|A|B)\b|\.hada_w|\.lokr_w|\.oft_)"),
        (Family.CONTROLNET, r"control_model\.|controlnet_|input_hint_block\.|control_add_embedding\."),
        (Family.IP_ADAPTER, r"image_proj\.|ip_adapter\."),
        (Family.SD3, rf"{_UNET}joint_blocks\."),
        (Family.FLUX, rf"{_UNET}(?:double|single)_blocks\."),
        (Family.COSXL, r"edm_vpred\."),
        (Family.PLAYGROUND, r"edm_mean$"),
        (Family.REFINER, re.escape(REFINER_CLIP_G_PREFIX)),
        (Family.SDXL, re.escape(CLIP_G_PREFIX)),
        (Family.SD1, r"cond_stage_model\.transformer\."),
        (Family.SD2, r"cond_stage_model\.model\."),
        (Family.UNET, rf"{re.escape(UNET_PREFIX)}|(?:down|up|input|output)_blocks\."),
        (Family.EMBEDDING, r"(?:clip_[lg]|emb_params)$"),
        (Family.VAE, rf"(?:{re.escape(VAE_PREFIX)}|vae\.)?(?:encoder|decoder)\.(?:down|up|mid|conv)"),
    )
)


def family_of(names: Iterable[str]) -> Family:
    """The family of the first pattern that matches any of the names."""
    known = tuple(names)
    for family, sign in _SIGNS:
        if any(sign.match(name) for name in known):
            return family
    return Family.UNKNOWN
