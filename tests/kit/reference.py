"""Paints a recipe by diffusers' own pipelines, for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image

from sdxl_gateway.config import IpAdapter
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.prompt import CLIP_SKIP
from sdxl_gateway.core.recipe import Recipe, Task
from tests.kit.device import DEVICE
from tests.kit.spelt_chunks import Told

SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2m_sde_heun": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
    ),
    "dpmpp_3m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}),
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", {}),
    "dpmpp_sde": ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "normal": {},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "trailing": {"timestep_spacing": "trailing"},
    "leading": {"timestep_spacing": "leading"},
}
Texts = Mapping[str, Any]
"""What replaces a prompt, as a pipeline's arguments."""
PIPELINES = {
    Task.TEXT_TO_IMAGE: "StableDiffusionXLPipeline",
    Task.IMAGE_TO_IMAGE: "StableDiffusionXLImg2ImgPipeline",
    Task.INPAINT: "StableDiffusionXLInpaintPipeline",
}


class Reference:
    """The pipelines of one folder, in float32 on the device under test."""

    def __init__(self, folder: Path) -> None:
        self._take(
            diffusers.DiffusionPipeline.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
        )

    @classmethod
    def of(cls, pipeline: Any) -> Reference:
        """A Reference of a loaded pipeline."""
        made = cls.__new__(cls)
        made._take(pipeline)
        return made

    def _take(self, pipeline: Any) -> None:
        self.base = pipeline.to(DEVICE)
        self._scheduler_config = pipeline.scheduler.config

    def load_ip_adapter(self, section: IpAdapter) -> None:
        """Load an IP-Adapter, which recipes' references use from now on; diffusers has one weight for all of them."""
        folder, name = str(Path(section.path).parent), Path(section.path).name
        self.base.load_ip_adapter(folder, subfolder="", weight_name=name, image_encoder_folder="image_encoder")

    def load_word(self, word: str, vectors: Mapping[str, torch.Tensor]) -> None:
        """Load an embedding of SDXL, each part into its text encoder."""
        for name, tokenizer, encoder in (
            ("clip_l", self.base.tokenizer, self.base.text_encoder),
            ("clip_g", self.base.tokenizer_2, self.base.text_encoder_2),
        ):
            if encoder is not None:
                self.base.load_textual_inversion(
                    {word: vectors[name]}, token=word, tokenizer=tokenizer, text_encoder=encoder
                )

    def paint(self, recipe: Recipe, inputs: Inputs = NO_INPUTS, index: int = 0) -> Picture:
        return self._paint(recipe, inputs, index, **texts_of(recipe))

    def paint_told(self, recipe: Recipe, positive: Told, negative: Told) -> Picture:
        """As `paint`, with these embeddings in place of the recipe's prompts."""
        return self._paint(recipe, NO_INPUTS, 0, **told_as(positive, negative))

    def _paint(self, recipe: Recipe, inputs: Inputs, index: int, **texts: Any) -> Picture:
        pipeline = self._pipeline(recipe)
        generator = torch.Generator("cpu").manual_seed(recipe.seed + index)
        found = pipeline(
            **steps_of(recipe),
            **until_guidance_ends(pipeline, recipe),
            guidance_scale=recipe.guidance_scale,
            guidance_rescale=recipe.guidance_rescale,
            eta=recipe.eta,
            generator=generator,
            **texts,
            **pictures_of(recipe, inputs),
            **self._references(recipe, inputs),
        ).images[0]
        return Picture(found.width, found.height, "RGB", found.tobytes())

    def _references(self, recipe: Recipe, inputs: Inputs) -> dict[str, Any]:
        if recipe.image_prompt is None:
            return {}
        weights = recipe.image_prompt.weights
        self.base.set_ip_adapter_scale(weights[0])
        return {"ip_adapter_image": [[image_of(inputs.reference(index)) for index in range(len(weights))]]}

    def refined(self, recipe: Recipe, refiner: Reference, inputs: Inputs = NO_INPUTS, share: float = 0.8) -> Picture:
        """By two pipelines: this one up to `share` of the way, then the refiner's, with one generator for both."""
        return self._refined(recipe, refiner, inputs, share, (texts_of(recipe), texts_of(recipe)))

    def refined_told(
        self, recipe: Recipe, refiner: Reference, own: tuple[Told, Told], its: tuple[Told, Told], share: float = 0.8
    ) -> Picture:
        """As `refined`, with embeddings in place of each pipeline's prompts, the positive ones first."""
        return self._refined(recipe, refiner, NO_INPUTS, share, (told_as(*own), told_as(*its)))

    def _refined(
        self, recipe: Recipe, refiner: Reference, inputs: Inputs, share: float, texts: tuple[Texts, Texts]
    ) -> Picture:
        generator = torch.Generator("cpu").manual_seed(recipe.seed)
        set_to = {"guidance_scale": recipe.guidance_scale, "generator": generator, **steps_of(recipe)}
        first = self._pipeline(recipe)
        given = pictures_of(recipe, inputs)
        latents = first(**texts[0], **set_to, **given, denoising_end=share, output_type="latent").images
        second = refiner._pipeline(replace(recipe, task=Task.IMAGE_TO_IMAGE))
        found = second(**texts[1], **set_to, image=latents, denoising_start=share).images[0]
        return Picture(found.width, found.height, "RGB", found.tobytes())

    def _pipeline(self, recipe: Recipe) -> Any:
        components = dict(self.base.components)
        kind, options = SAMPLERS[recipe.sampler]
        spacing = SCHEDULES[recipe.schedule]
        components["scheduler"] = getattr(diffusers, kind).from_config(self._scheduler_config, **options, **spacing)
        zeros = self.base.config.force_zeros_for_empty_prompt
        score = {"requires_aesthetics_score": True} if self.base.config.get("requires_aesthetics_score") else {}
        pipeline = getattr(diffusers, PIPELINES[recipe.task])(**components, force_zeros_for_empty_prompt=zeros, **score)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def texts_of(recipe: Recipe) -> Texts:
    return {
        "prompt": recipe.prompt,
        "negative_prompt": recipe.negative_prompt or None,
        "clip_skip": recipe.reading.clip_skip - CLIP_SKIP,
    }


def told_as(positive: Told, negative: Told) -> Texts:
    return {
        "prompt_embeds": positive.tokens,
        "pooled_prompt_embeds": positive.pooled,
        "negative_prompt_embeds": negative.tokens,
        "negative_pooled_prompt_embeds": negative.pooled,
    }


def steps_of(recipe: Recipe) -> dict[str, Any]:
    """The steps; samplers that ignore the configured spacing are given their timesteps explicitly."""
    if recipe.sampler in ("lcm", "tcd") and recipe.schedule == "trailing":
        spacing = diffusers.DDIMScheduler(timestep_spacing="trailing")
        spacing.set_timesteps(recipe.steps)
        return {"timesteps": spacing.timesteps.tolist()}
    return {"num_inference_steps": recipe.steps}


ROWED = ("prompt_embeds", "add_text_embeds", "add_time_ids", "mask", "masked_image_latents", "image")
"""What pipelines hold with a row for each of the UNet's, as far as a callback may change it."""


def until_guidance_ends(pipeline: Any, recipe: Recipe) -> dict[str, Any]:
    """A callback like diffusers' SDXLCFGCutoffCallback, for everything that the pipeline has rows of."""
    names = [name for name in pipeline._callback_tensor_inputs if name in ROWED]

    def at_step_end(pipeline: Any, step: int, _: Any, held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if step != recipe.guided_steps - 1:
            return held
        pipeline._guidance_scale = 0.0
        return {name: tensor[-1:] for name, tensor in held.items()}

    ends = {"callback_on_step_end": at_step_end, "callback_on_step_end_tensor_inputs": names}
    return ends if recipe.guidance_ends else {}


def pictures_of(recipe: Recipe, inputs: Inputs) -> dict[str, Any]:
    if recipe.task is Task.TEXT_TO_IMAGE:
        return {"width": recipe.paint_width, "height": recipe.paint_height}
    given: dict[str, Any] = {"image": image_of(inputs.image), "strength": recipe.strength}
    if recipe.task is Task.INPAINT:
        size = {"width": recipe.paint_width, "height": recipe.paint_height}
        given |= {"mask_image": image_of(inputs.mask)} | size
    return given


def image_of(picture: Picture | None) -> Image.Image:
    if picture is None:
        raise ValueError("a picture is missing")
    return Image.frombytes(picture.mode, (picture.width, picture.height), picture.pixels)
