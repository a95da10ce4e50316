"""Takes a recipe, gives what the caller is told of it: how to make the picture again, and how much work it was."""

from __future__ import annotations

import re
from dataclasses import asdict
from math import ceil
from typing import Any

from typing_extensions import TypedDict

from sdxl_gateway.core.recipe import LANCZOS, Blend, BlendPart, Control, Recipe, Task
from sdxl_gateway.scheduling.detail import detail_steps

PIXELS_PER_TOKEN = 128 * 128
_WORDS = re.compile(r"\w+|[^\w\s]")


class TokenDetails(TypedDict):
    """Tokens by what they stand for."""

    text_tokens: int
    image_tokens: int


class Usage(TypedDict):
    """OpenAI's usage object, which here measures work."""

    input_tokens: int
    input_tokens_details: TokenDetails
    output_tokens: int
    output_tokens_details: TokenDetails
    total_tokens: int


def receipt(recipe: Recipe, *, seed: int, version: str) -> dict[str, Any]:
    """Everything that decides the pixels of the picture painted from `seed`; the same values paint it again."""
    told: dict[str, Any] = {
        "task": recipe.task.value,
        "checkpoint": recipe.checkpoint,
        "checkpoint_digest": recipe.checkpoint_digest,
        "loras": _loras(recipe.blend),
        "prompt": recipe.prompt,
        "negative_prompt": recipe.negative_prompt,
        "size": f"{recipe.width // recipe.upscale}x{recipe.height // recipe.upscale}",
        "painted_size": f"{recipe.paint_width}x{recipe.paint_height}",
        "steps": recipe.steps,
        "guidance_scale": recipe.guidance_scale,
        "sampler": recipe.sampler,
        "schedule": recipe.schedule,
        "eta": recipe.eta,
        "guidance_rescale": recipe.guidance_rescale,
        "strength": recipe.strength,
        "embeddings": dict(recipe.reading.embeddings),
        "prompt_syntax": recipe.reading.syntax,
        "clip_skip": recipe.reading.clip_skip,
        "long_prompts": recipe.reading.max_chunks > 1,
        "background": recipe.background,
        "seed": seed,
        "version": version,
    }
    if recipe.task is Task.INPAINT:
        told |= {"seam": recipe.seam, "inpaint_padding": recipe.inpaint_padding, "padding": asdict(recipe.padding)}
    if recipe.guidance_end < 1:
        told["guidance_end"] = recipe.guidance_end
    if recipe.controls:
        told["controls"] = [_control(control) for control in recipe.controls]
    if recipe.matte is not None:
        told["matte_digest"] = recipe.matte
    for phase in recipe.later_phases:
        told |= {"refiner": phase.checkpoint, "refiner_digest": phase.checkpoint_digest, "refiner_at": phase.from_share}
    if recipe.inputs:
        told["inputs"] = dict(recipe.inputs)
    if recipe.upscale > 1:
        told["upscale"] = recipe.upscale
    if recipe.upscaler:
        told |= {"upscaler": recipe.upscaler, "upscaler_digest": recipe.upscaler_digest}
    elif (recipe.width, recipe.height) != (recipe.paint_width, recipe.paint_height):
        told["resized_with"] = LANCZOS
    if recipe.detail:
        told["detail"] = recipe.detail
    if recipe.image_prompt is not None:
        prompt = recipe.image_prompt
        told["ip_adapter"] = {"name": prompt.adapter, "digest": prompt.digest, "weights": list(prompt.weights)}
    if recipe.arm is not None:
        told["rollout"] = {"name": recipe.arm.rollout, "arm": recipe.arm.target}
    return told


def _loras(blend: Blend) -> list[dict[str, Any]]:
    return [_lora(part) for part in blend.parts]


def _lora(part: BlendPart) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": part.name,
        "digest": part.digest,
        "weight": part.weight,
        "text_encoder_weight": part.text_encoder_weight,
    }
    if part.blocks:
        told["blocks"] = [1.0, *part.blocks]
    return told


def _control(control: Control) -> dict[str, Any]:
    """As a request says it; `preprocess` is what made the map of the picture that came."""
    told: dict[str, Any] = {
        "type": control.name,
        "digest": control.digest,
        "weight": control.weight,
        "start": control.start,
        "end": control.end,
        "preprocess": control.preprocessor or False,
    }
    return told if control.mode is None else told | {"mode": control.mode}


def usage(recipe: Recipe, *, has_input: bool) -> Usage:
    """OpenAI's usage object. One image token is 128 x 128 painted pixels, for output times each denoising step,
    those of a detail pass's tiles too.

    Text tokens count words and punctuation marks of both prompts.
    """
    painted = recipe.paint_width * recipe.paint_height / PIXELS_PER_TOKEN
    text = len(_WORDS.findall(f"{recipe.prompt} {recipe.negative_prompt}"))
    image = ceil(painted) * (has_input + len(recipe.controls))
    output = ceil(painted * (recipe.denoise_steps + detail_steps(recipe)) * recipe.count)
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"text_tokens": text, "image_tokens": image},
        "output_tokens": output,
        "output_tokens_details": {"image_tokens": output, "text_tokens": 0},
        "total_tokens": text + image + output,
    }
