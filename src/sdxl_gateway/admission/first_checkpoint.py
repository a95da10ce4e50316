"""Takes the settings, has the engine begin with the checkpoint of the default model."""

from __future__ import annotations

from sdxl_gateway.admission.model_names import ModelResolver
from sdxl_gateway.config import EngineProcess, Settings


def engine_process(settings: Settings, names: ModelResolver) -> EngineProcess:
    """The engine loads the first checkpoint at its start: the default model's goes there."""
    first, process = names.choose(None).checkpoint.name, settings.engine_process()
    if first not in settings.checkpoints:
        return process.model_copy(update={"first_in_folder": first})
    ordered = {first: settings.checkpoints[first], **settings.checkpoints}
    return process.model_copy(update={"checkpoints": ordered})
