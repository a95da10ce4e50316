"""Takes an IP-Adapter's files, gives it and its image encoder on the device: two kinds of the pool's models."""

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
    """`projection` makes tokens of what the image encoder says; `layers` are the weights, (width, text width) each, of
    the keys and values that every cross-attention of a UNet makes of them, in the order of its attention processors.
    """

    projection: Any
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def plus(self) -> bool:
        """It reads every patch of a picture."""
        return not isinstance(self.projection, ImageProjection)

    def tokens(self, encoder: Any, pixels: Tensor) -> Tensor:
        """(pictures, tokens, text width) of pixels as the encoder wants them, (pictures, 3, side, side)."""
        if self.plus:
            found: Tensor = self.projection(encoder(pixels, output_hidden_states=True).hidden_states[-2])
        else:
            found = self.projection(encoder(pixels).image_embeds)
        return found

    def tokens_of_nothing(self, encoder: Any) -> Tensor:
        """(1, tokens, text width): what guidance leads away from, as diffusers has it: a grey picture, or zeros."""
        config = encoder.config
        like = self.layers[0][0].new_zeros(1, config.projection_dim)
        if self.plus:
            return self.tokens(encoder, like.new_zeros(1, 3, config.image_size, config.image_size))
        found: Tensor = self.projection(like)
        return found


def ip_adapter_of(tensors: Mapping[str, Tensor]) -> IPAdapter:
    """The adapter of a file's tensors, where and in what format these are."""
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
    """What a recipe with an image prompt needs of the one adapter there is, under that one's digest."""

    files: ByDigest[IpAdapterFile]
    device: torch.device
    dtype: torch.dtype

    @property
    def names(self) -> tuple[str, ...]:
        return self.files.digests

    def wanted_by(self, recipe: Recipe) -> tuple[str, ...]:
        """That of its image prompt."""
        return () if recipe.image_prompt is None else (recipe.image_prompt.digest,)

    def unload(self, model: Any) -> None:
        """It holds nothing besides itself."""


@dataclass(frozen=True, slots=True)
class IpAdapterLoader(_OfTheAdapter):
    """Loads the adapter."""

    def cost_bytes(self, name: str) -> int:
        """By the header of its file. Raises Unavailable for one that is not there any more."""
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
    """Loads its image encoder."""

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
