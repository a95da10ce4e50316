"""IP-Adapters of the published sizes, on the meta device, so that shape errors are found without a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from sdxl_gateway.engine.canvas import ImageTokens, UNetCall
from sdxl_gateway.engine.models.image_prompts import IPAdapter, ip_adapter_of
from sdxl_gateway.engine.models.text_layers import cross_attentions
from sdxl_gateway.engine.parts.image_prompt import ImagePrompt
from tests.kit.ip_adapters import Shapes, plain_shapes, plus_shapes
from tools.full_size_model import UNET

TEXT, PICTURES, ROWS = 2048, 3, 4
VIT_H = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}
VIT_BIGG = {"hidden_size": 1664, "intermediate_size": 8192, "num_hidden_layers": 48, "num_attention_heads": 16}
ENCODERS = {
    "plain-bigg": (VIT_BIGG, 1280, False),
    "plain-vit-h": (VIT_H, 1024, False),
    "plus-vit-h": (VIT_H, 1024, True),
}


@pytest.fixture(scope="module")
def unet() -> Any:
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(UNET).half()


def plus(numbers: int) -> Shapes:
    return plus_shapes(numbers, TEXT, queries=16, width=1280, inner=1280)


def adapter_for(unet: Any, projection: Shapes) -> IPAdapter:
    tensors: dict[str, Tensor] = {name: torch.empty(shape) for name, shape in projection.items()}
    for at, attention in enumerate(cross_attentions(unet)):
        for name in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * at + 1}.{name}.weight"] = torch.empty(attention.inner_dim, TEXT)
    return ip_adapter_of(tensors)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_ip_adapter(unet: Any, name: str) -> None:
    sizes, projected, patches = ENCODERS[name]
    config = CLIPVisionConfig(**sizes, patch_size=14, image_size=224, projection_dim=projected, hidden_act="gelu")
    with torch.device("meta"), torch.inference_mode():
        encoder = CLIPVisionModelWithProjection._from_config(config)
        adapter = adapter_for(unet, plus(sizes["hidden_size"]) if patches else plain_shapes(projected, TEXT))
        assert (adapter.plus, len(adapter.layers)) == (patches, 70)
        seen = adapter.tokens(encoder, torch.empty(PICTURES, 3, 224, 224))
        each = 16 if patches else 4
        assert seen.shape == (PICTURES, each, TEXT)
        assert adapter.tokens_of_nothing(encoder).shape == (1, each, TEXT)
        tokens = seen.flatten(0, 1)[None].expand(2, -1, -1).half()
        halves = IPAdapter(adapter.projection, tuple((keys.half(), values.half()) for keys, values in adapter.layers))
        image = ImageTokens(halves, tokens, torch.ones(2, PICTURES * each, 1).half())
        part = ImagePrompt(image, unet, cross_attentions(unet))
        call = UNetCall(torch.empty(ROWS, 4, 128, 128).half(), torch.empty(ROWS), unet, unet, arguments())
        ImagePrompt.join([part, part], call)
        assert call.denoiser is not unet
        found = call.denoiser(call.sample, call.timesteps, **call.arguments, return_dict=False)[0]
    assert (found.shape, found.dtype) == ((ROWS, 4, 128, 128), torch.float16)


def arguments() -> dict[str, Any]:
    added = {"text_embeds": torch.empty(ROWS, 1280).half(), "time_ids": torch.empty(ROWS, 6).half()}
    return {"encoder_hidden_states": torch.empty(ROWS, 77, TEXT).half(), "added_cond_kwargs": added}


def test_a_model_that_takes_over_half_way_is_left_alone(unet: Any) -> None:
    config = UNET | {"transformer_layers_per_block": (1, 1, 2), "cross_attention_dim": 1280}
    with torch.device("meta"):
        refiner = UNet2DConditionModel.from_config(config)
        adapter = adapter_for(unet, plain_shapes(1024, TEXT))
        image = ImageTokens(adapter, torch.empty(2, 4, TEXT), torch.empty(2, 4, 1))
        call = UNetCall(torch.empty(2, 4, 8, 8), torch.empty(2), refiner, refiner)
    ImagePrompt.join([ImagePrompt(image, unet, cross_attentions(unet))], call)
    assert call.denoiser is refiner
