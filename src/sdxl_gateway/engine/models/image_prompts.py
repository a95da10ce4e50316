"""Takes an IP-Adapter's files, gives it and its image encoder on the device, as two kinds of models of the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from diffusers.models.embeddings import ImageProjection
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from sdxl_gateway.catalog.ip_adapters import IpAdapterFile
from sdxl_gateway.catalog.model_files import CHECKPOINT_CAPS, headers
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.models.by_digest import ByDigest
from sdxl_gateway.engine.models.lazy_tensors import tensors_of
from sdxl_gateway.engine.models.pretrained import load_pretrained, own_weights

IP_ADAPTER = "ip_adapter"
IMAGE_ENCODER = "image_encoder"


@dataclass(frozen=True, slots=True, eq=False)
class IPAdapter:
    """`projection` maps the image encoder's output to tokens; `layers` are the key and value projections of these, each
    (width, text width), for every cross-attention of a UNet, in the order of its attention processors.
    """

    projection: Any
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def plus(self) -> bool:
        """It is of the "plus" kind, which reads every patch of a picture."""
        return not isinstance(self.projection, ImageProjection)

    def tokens(self, encoder: Any, pixels: Tensor) -> Tensor:
        """(pictures, tokens, text width) of normalised pixels, (pictures, 3, side, side)."""
        if self.plus:
            tokens: Tensor = self.projection(encoder(pixels, output_hidden_states=True).hidden_states[-2])
        else:
            tokens = self.projection(encoder(pixels).image_embeds)
        return tokens

    def tokens_of_nothing(self, encoder: Any) -> Tensor:
        """(1, tokens, text width) for the negative prompt's row, as in diffusers: of a grey picture, or of zeros."""
        config = encoder.config
        like = self.layers[0][0].new_zeros(1, config.projection_dim)
        if self.plus:
            return self.tokens(encoder, like.new_zeros(1, 3, config.image_size, config.image_size))
        tokens: Tensor = self.projection(like)
        return tokens


def ip_adapter_of(tensors: Mapping[str, Tensor]) -> IPAdapter:
    """The adapter of a file's tensors, on their device and in their dtype."""
    own = {
        name.removeprefix("image_proj."): tensor for name, tensor in tensors.items() if name.startswith("image_proj.")
    }
    projection = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers(own, low_cpu_mem_usage=False)
    numbers = range(1, len(tensors) - len(own), 2)
    layers = tuple(
        (tensors[f"ip_adapter.{number}.to_k_ip.weight"], tensors[f"ip_adapter.{number}.to_v_ip.weight"])
        for number in numbers
    )
    return IPAdapter(projection.eval().requires_grad_(False), layers)


@dataclass(frozen=True, slots=True)
class _OfTheAdapter:
    """What both loaders have in common: models of the one configured IP-Adapter, named by its digest."""

    files: ByDigest[IpAdapterFile]
    device: torch.device
    dtype: torch.dtype

    @property
    def names(self) -> tuple[str, ...]:
        return self.files.digests

    def wanted_by(self, recipe: Recipe) -> tuple[str, ...]:
        """The digest of its image prompt's IP-Adapter."""
        return () if recipe.image_prompt is None else (recipe.image_prompt.digest,)

    def unload(self, model: Any) -> None:
        """Nothing but the model itself is on the ledger."""


@dataclass(frozen=True, slots=True)
class IpAdapterLoader(_OfTheAdapter):
    """Loads the IP-Adapter."""

    def cost_bytes(self, name: str) -> int:
        """By the header of its file. Raises Unavailable if it is gone."""
        return read_header(self.files.of(name).path, CHECKPOINT_CAPS).parameters * self.dtype.itemsize

    def load(self, name: str) -> IPAdapter:
        """Raises Unavailable, CheckpointProblem."""
        return self.files.read(name, self._loaded)

    def _loaded(self, file: IpAdapterFile) -> IPAdapter:
        tensors = tensors_of(file.path, self.dtype, self.device)
        adapter = ip_adapter_of({key: one.to(self.device) for key, one in tensors.items()})
        adapter.projection.to(self.device, self.dtype)
        return adapter


@dataclass(frozen=True, slots=True)
class ImageEncoderLoader(_OfTheAdapter):
    """Loads the IP-Adapter's image encoder."""

    def cost_bytes(self, name: str) -> int:
        """By the headers of its files."""
        parameters = sum(header.parameters for header in headers(self.files.of(name).image_encoder))
        return parameters * self.dtype.itemsize

    def load(self, name: str) -> Any:
        """Raises Unavailable, CheckpointProblem."""
        return self.files.read(name, self._loaded)

    def _loaded(self, file: IpAdapterFile) -> Any:
        encoder = load_pretrained(CLIPVisionModelWithProjection, file.image_encoder, self.dtype).to(self.device)
        own_weights(encoder)
        return encoder.eval().requires_grad_(False)
