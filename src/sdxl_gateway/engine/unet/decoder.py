"""Stands in for a VAE's `decode`: decodes pictures of some sizes by compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sdxl_gateway.engine.unet.target import Code

DecodeCodes = dict[tuple[torch.Size, torch.dtype], Code]
"""By the latents' shape and dtype."""


class Decoder:
    """Called as `decode` is. `codes` may grow while it is in use; tiled decoding is never compiled."""

    def __init__(self, vae: Any, codes: Mapping[tuple[torch.Size, torch.dtype], Code]) -> None:
        self._vae = vae
        self._codes = codes

    def __call__(self, latents: Tensor, **options: Any) -> tuple[Tensor]:
        code = None if self._vae.use_tiling else self._codes.get((latents.shape, latents.dtype))
        return self._vae.decode(latents, **options) if code is None else (code(self._vae, latents.contiguous()),)
