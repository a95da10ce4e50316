"""The real refiner's sizes, traced without weights, so that shape errors are found without a GPU."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.placement import Placement
from sdxl_gateway.engine.models.samplers import SamplerFactory
from sdxl_gateway.engine.parts.guidance import Guidance
from sdxl_gateway.engine.stages.denoise import predict
from sdxl_gateway.engine.stages.encode import encode_text
from tests.kit.engine import recipe
from tests.kit.sdxl_shapes import REFINER_TEXT, REFINER_UNET, SDXL_SCHEDULER

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def refiner() -> Checkpoint:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**REFINER_UNET)
        text = CLIPTextModelWithProjection(CLIPTextConfig(**REFINER_TEXT)).eval()
    tokenizer = CLIPTokenizer.from_pretrained(DEMO_MODEL / "tokenizer_2", local_files_only=True)
    index = {"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False}
    samplers = SamplerFactory(SDXL_SCHEDULER)
    place = Placement.everything_on(torch.device("meta"))
    return Checkpoint("refiner", index, unet, None, (text,), (tokenizer,), samplers, torch.float32, unet, unet, place)


def test_a_step_of_two_pictures() -> None:
    made = refiner()
    assert 2.2e9 < sum(parameter.numel() for parameter in made.unet.parameters()) < 2.3e9
    assert set(made.blendable()) == {"unet", "text_encoder_2"}
    wanted = recipe(width=1024, height=1024, steps=20, checkpoint="refiner")
    canvas = Canvas(wanted, 0, NO_INPUTS, made)
    with torch.inference_mode():
        canvas.positive = canvas.negative = encode_text(made, wanted.prompt)
        canvas.sampler = made.samplers.make("euler", 20)
        canvas.timesteps = canvas.sampler.timesteps
        canvas.unet_timesteps = canvas.timesteps.to("meta")
        canvas.latents = torch.zeros(1, 4, 128, 128, device="meta")
        part = Guidance.begin(canvas)
        canvas.parts = (part,)
        found = predict([canvas, canvas])
    assert part.tokens.shape == (2, 77, 1280)
    assert part.time_ids.shape == (2, 5)
    assert [one.shape for one in found] == [(1, 4, 128, 128)] * 2
