"""Checks that the names in the settings exist: models, LoRAs and mattes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sdxl_gateway.admission.model_names import DEFAULT, ModelResolver
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import Settings
from sdxl_gateway.core.errors import CheckpointProblem, GatewayError, Refusal
from sdxl_gateway.core.text import shown


def problems(
    settings: Settings, checkpoints: Mapping[str, CheckpointEntry], adapters: LoraCatalog
) -> Iterator[tuple[str, str]]:
    """Key and reason of each missing name: the default model, house styles' parts, targets of aliases and rollouts."""
    names = ModelResolver(settings, checkpoints, adapters)
    yield from rollout_problems(names, adapters)
    lost = {f"models.{name}": reason for name, reason in _without_checkpoint(settings, names, adapters)}
    yield from ((f"{key}.checkpoint", reason) for key, reason in lost.items())
    for key, name in _named(settings).items():
        if key not in lost and (reason := _lacking(names, adapters, name)) is not None:
            yield key, reason
    for name, style in settings.models.items():
        if style.background == "transparent" and settings.matting.path is None:
            yield f"models.{name}.background", "A transparent background needs a matte model: set matting.path."


def _without_checkpoint(settings: Settings, names: ModelResolver, adapters: LoraCatalog) -> Iterator[tuple[str, str]]:
    """House styles whose `checkpoint` is no model's name, and why."""
    for name, style in settings.models.items():
        if style.checkpoint and (reason := _lacking(names, adapters, style.checkpoint)) is not None:
            yield name, reason


def rollout_problems(names: ModelResolver, adapters: LoraCatalog) -> Iterator[tuple[str, str]]:
    """Key and reason of each target that does not exist, or is a rollout itself."""
    for rollout, shares in names.rollouts.items():
        for target in shares:
            if (reason := _lacking(names, adapters, target) or _shared_out(names, target)) is not None:
                yield f"models.{rollout}.rollout", f"The target {shown(target)} cannot be painted: {reason}"


def _lacking(names: ModelResolver, adapters: LoraCatalog, name: str) -> str | None:
    try:
        for lora in names.choose(name).loras:
            adapters.find(lora.name)
    except Refusal as refusal:
        return refusal.message
    return None


def _shared_out(names: ModelResolver, target: str) -> str | None:
    return None if names.choose(target).arm is None else "it is a rollout itself."


def _named(settings: Settings) -> dict[str, str]:
    named = {"default_model": settings.default_model}
    named |= {f"models.{name}": name for name, style in settings.models.items() if not style.rollout}
    return named | {f"aliases.{glob}": target for glob, target in settings.aliases.items() if target != DEFAULT}


def leading_to(settings: Settings, names: ModelResolver, checkpoint: str) -> list[str]:
    """The keys of the settings whose model names use that checkpoint, in any arm of a rollout."""
    arms = [(f"models.{rollout}.rollout", target) for rollout, shares in names.rollouts.items() for target in shares]
    return sorted({key for key, name in (*_named(settings).items(), *arms) if _leads(names, name, checkpoint)})


def _leads(names: ModelResolver, name: str, checkpoint: str) -> bool:
    try:
        return names.choose(name).checkpoint.name == checkpoint
    except Refusal:
        return False


def check_rollouts(names: ModelResolver, adapters: LoraCatalog) -> None:
    """Raises CheckpointProblem naming each target that cannot be painted."""
    found = [f"{key}: {reason}" for key, reason in rollout_problems(names, adapters)]
    if found:
        raise CheckpointProblem(" ".join(found))


def refuse_gaps(
    running: Settings, read: Settings, checkpoints: Mapping[str, CheckpointEntry], adapters: LoraCatalog
) -> None:
    """Raises CheckpointProblem for names that do not exist, except those that are missing already."""
    known = set(problems(running, checkpoints, adapters))
    new = [found for found in problems(read, checkpoints, adapters) if found not in known]
    if new:
        raise CheckpointProblem(" ".join(f"{key}: {reason}" for key, reason in new))


def check_default(names: ModelResolver) -> None:
    """Raises CheckpointProblem if the default model is no model, or only paints from pictures."""
    try:
        default = names.choose(None).checkpoint
    except GatewayError as error:
        raise CheckpointProblem(f"default_model: {error.message}") from error
    if default.refines:
        raise CheckpointProblem(f"default_model: '{default.name}' is a refiner, which paints from pictures alone.")
