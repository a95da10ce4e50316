"""Loading a model by its library does not affect other threads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.engine.models.pretrained import load_pretrained

MODELS = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("component", MODELS)
def test_it_is_the_model_its_library_gives(component: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = MODELS[component]
    theirs = kind.from_pretrained(DEMO_MODEL / component, dtype=dtype, use_safetensors=True)
    changes: list[torch.dtype] = []
    with monkeypatch.context() as patch:
        patch.setattr(torch, "set_default_dtype", changes.append)
        ours = load_pretrained(kind, DEMO_MODEL / component, dtype)
    assert changes == [], "every thread would compute in it"
    found, expected = ours.state_dict(), theirs.state_dict()
    assert found.keys() == expected.keys()
    assert ours.dtype is theirs.dtype is dtype
    for name, tensor in found.items():
        assert tensor.dtype is expected[name].dtype
        assert torch.equal(tensor, expected[name])
        assert tensor.stride() == expected[name].stride()
