"""Refuses to paint a recipe again if the picture would be another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sdxl_gateway.admission.model_names import ModelResolver
from sdxl_gateway.admission.rollouts import decided
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.core.ask import Ask, LoraRef, Replay
from sdxl_gateway.core.errors import ModelNotFound, RecipeChanged, Refusal
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.core.text import shown


def check_lora(asked: LoraRef, digest: str) -> None:
    """Raises RecipeChanged if the LoRA of that name is another file than the one asked for."""
    if asked.digest not in (None, digest):
        message = f"The LoRA {shown(asked.name)} is another file now: its digest is {digest}."
        raise RecipeChanged(message, param=f"{asked.param}.digest")


@contextmanager
def checkpoint_gone(ask: Ask) -> Iterator[None]:
    """The error for a recipe's checkpoint that no longer exists: it has changed, as nobody mistyped its name."""
    try:
        yield
    except ModelNotFound as error:
        if ask.replay is None or ask.replay.checkpoint_digest is None:
            raise
        raise RecipeChanged(f"The recipe's checkpoint is gone. {error.message}", param="recipe.checkpoint") from error


def check_replay(replay: Replay | None, recipe: Recipe) -> None:
    """Raises RecipeChanged naming what differs from what the picture was painted from."""
    if replay is None:
        return
    if replay.checkpoint_digest not in (None, recipe.checkpoint_digest):
        message = (
            f"The checkpoint {shown(recipe.checkpoint)} is another one now: its digest is {recipe.checkpoint_digest}."
        )
        raise RecipeChanged(message, param="recipe.checkpoint_digest")
    refiners = [phase.checkpoint_digest for phase in recipe.later_phases]
    if replay.refiner_digest is not None and refiners != [replay.refiner_digest]:
        raise RecipeChanged("The recipe's refiner is another one now.", param="recipe.refiner_digest")
    if replay.embeddings is not None and replay.embeddings != recipe.reading.embeddings:
        differing = {word for word, _ in set(replay.embeddings) ^ set(recipe.reading.embeddings)}
        message = f"The embeddings that the prompts name are other files now: {_listed(differing)}."
        raise RecipeChanged(message, param="recipe.embeddings")
    adapter = None if recipe.image_prompt is None else recipe.image_prompt.digest
    if replay.ip_adapter_digest not in (None, adapter):
        message = f"The recipe's IP-Adapter is {'gone' if adapter is None else 'another one now'}, or guides nothing."
        raise RecipeChanged(message, param="recipe.ip_adapter.digest")
    if replay.matte_digest not in (None, recipe.matte):
        message = f"The matte model is another one now: its digest is {recipe.matte}."
        raise RecipeChanged(message, param="recipe.matte_digest")
    if replay.upscaler_digest not in (None, recipe.upscaler_digest):
        message = f"The upscaler {shown(recipe.upscaler)} is another file now, or enlarges nothing."
        raise RecipeChanged(message, param="recipe.upscaler_digest")
    if replay.inputs is not None and replay.inputs != recipe.inputs:
        named = _listed({role for role, _ in set(replay.inputs) ^ set(recipe.inputs)})
        message = f"The recipe was painted from another {named}. Leave 'inputs' out of it to paint from this one."
        raise RecipeChanged(message, param="recipe.inputs")


def arm_again(
    replay: Replay | None, recipe: Recipe, names: ModelResolver, loras: LoraCatalog
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with the arm it was painted for, and a warning if that arm has changed."""
    if replay is None or replay.arm is None:
        return recipe, ()
    if _paints(replay.arm, recipe, names, loras):
        return replace(recipe, arm=replay.arm), ()
    told = f"{shown(replay.arm.rollout)} has no arm {shown(replay.arm.target)} any more that paints this recipe"
    return recipe, (f"{told}: the picture is the same, and counts for no arm.",)


def _paints(arm: Arm, recipe: Recipe, names: ModelResolver, loras: LoraCatalog) -> bool:
    """Whether the arm still has the recipe's model; the caller may have added LoRAs."""
    if arm.target not in names.rollouts.get(arm.rollout, ()):
        return False
    try:
        chosen = names.by(decided(arm)).choose(arm.rollout)
        wanted = {loras.find(ref.name).name for ref in chosen.loras}
    except Refusal:
        return False
    same = chosen.checkpoint.digest == recipe.checkpoint_digest
    return same and wanted <= {part.name for part in recipe.blend.parts}


def _listed(names: set[str]) -> str:
    return ", ".join(map(shown, sorted(names)))
