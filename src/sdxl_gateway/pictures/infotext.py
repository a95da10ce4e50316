"""Takes a recipe and a seed, gives the `parameters` text that image browsers and other SDXL tools read."""

from __future__ import annotations

from sdxl_gateway.core.prompt import CLIP_SKIP
from sdxl_gateway.core.recipe import BlendPart, Control, Recipe
from sdxl_gateway.core.samplers import BETA, EXPONENTIAL, KARRAS, LEADING, NORMAL, SAMPLERS, TRAILING

SCHEDULE_TITLES = {
    KARRAS: "Karras",
    EXPONENTIAL: "Exponential",
    BETA: "Beta",
    TRAILING: "SGM Uniform",
    LEADING: "DDIM",
}
"""As AUTOMATIC1111 calls them."""


def infotext(recipe: Recipe, *, seed: int, version: str) -> str:
    """Prompt with LoRA tags, then the negative prompt, then one line of `name: value` pairs."""
    tags = "".join(f" {_tag(part)}" for part in recipe.blend.parts)
    lines = [recipe.prompt + tags]
    if recipe.negative_prompt:
        lines.append(f"Negative prompt: {recipe.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in _pairs(recipe, seed, version)))
    return "\n".join(lines)


def _tag(part: BlendPart) -> str:
    weights = f"{part.weight:g}"
    if part.text_encoder_weight != part.weight:
        weights = f"{part.text_encoder_weight:g}:{weights}"
    if part.blocks:
        weights += ":lbw=1," + ",".join(f"{factor:g}" for factor in part.blocks)
    return f"<lora:{part.name}:{weights}>"


def _pairs(recipe: Recipe, seed: int, version: str) -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = [
        ("Steps", recipe.steps),
        ("Sampler", SAMPLERS[recipe.sampler].title),
        ("CFG scale", f"{recipe.guidance_scale:g}"),
        ("Seed", seed),
        ("Size", f"{recipe.width}x{recipe.height}"),
        ("Model hash", recipe.checkpoint_digest[:10]),
        ("Model", recipe.checkpoint),
    ]
    if recipe.schedule != NORMAL:
        pairs.insert(2, ("Schedule type", SCHEDULE_TITLES[recipe.schedule]))
    if recipe.reading.clip_skip != CLIP_SKIP:
        pairs.append(("Clip skip", recipe.reading.clip_skip))
    for phase in recipe.later_phases:
        pairs += [("Refiner", phase.checkpoint), ("Refiner switch at", f"{phase.from_share:g}")]
    if recipe.eta:
        pairs.append(("Eta", f"{recipe.eta:g}"))
    if recipe.guidance_rescale:
        pairs.append(("CFG rescale", f"{recipe.guidance_rescale:g}"))
    if recipe.guidance_ends:
        pairs.append(("CFG end", f"{recipe.guidance_end:g}"))
    if recipe.strength < 1:
        pairs.append(("Denoising strength", f"{recipe.strength:g}"))
    if recipe.blend.parts:
        hashes = ", ".join(f"{part.name}: {part.digest[:12]}" for part in recipe.blend.parts)
        pairs.append(("Lora hashes", f'"{hashes}"'))
    pairs.extend((f"ControlNet {i}", _control(control)) for i, control in enumerate(recipe.controls))
    return [*pairs, ("Version", f"sdxl-gateway {version}")]


def _control(control: Control) -> str:
    """As the ControlNet extension of AUTOMATIC1111's web UI writes it."""
    named = f"Module: {control.preprocessor or 'none'}, Model: {control.name} [{control.digest[:8]}]"
    share = f"Guidance Start: {control.start:g}, Guidance End: {control.end:g}"
    return f'"{named}, Weight: {control.weight:g}, {share}"'
