"""Takes settings and what there is, gives the keys that name a model, a LoRA or a matte which is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sdxl_gateway.admission.model_names import DEFAULT, ModelResolver
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import Settings
from sdxl_gateway.core.errors import CheckpointProblem, GatewayError, Refusal


def problems(
    settings: Settings, checkpoints: Mapping[str, CheckpointEntry], adapters: LoraCatalog
) -> Iterator[tuple[str, str]]:
    """Key and reason: of the default model, of house styles' parts, of the aliases' targets."""
    names = ModelResolver(settings, checkpoints, adapters)
    for key, name in _named(settings).items():
        try:
            for lora in names.choose(name).loras:
                adapters.find(lora.name)
        except Refusal as refusal:
            yield key, refusal.message
    for name, style in settings.models.items():
        if style.background == "transparent" and settings.matting.path is None:
            yield f"models.{name}.background", "A transparent background needs a matte model: set matting.path."


def _named(settings: Settings) -> dict[str, str]:
    named = {"default_model": settings.default_model}
    named |= {f"models.{name}": name for name in settings.models}
    return named | {f"aliases.{glob}": target for glob, target in settings.aliases.items() if target != DEFAULT}


def check_default(names: ModelResolver) -> None:
    """Raises CheckpointProblem where the default model is none, or paints from pictures alone."""
    try:
        default = names.choose(None).checkpoint
    except GatewayError as error:
        raise CheckpointProblem(f"default_model: {error.message}") from error
    if default.refines:
        raise CheckpointProblem(f"default_model: '{default.name}' is a refiner, which paints from pictures alone.")
