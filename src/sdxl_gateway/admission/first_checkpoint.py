"""The settings of engines, with the default model's checkpoint first."""

from __future__ import annotations

from sdxl_gateway.admission.model_names import ModelResolver
from sdxl_gateway.config import EngineProcess, Settings


def engine_process(settings: Settings, names: ModelResolver) -> EngineProcess:
    """The default model's checkpoint comes first, as the engine loads the first one at its start."""
    first, process = names.choose(None).checkpoint.name, settings.engine_process()
    if first not in settings.checkpoints:
        return process.model_copy(update={"first_in_folder": first})
    ordered = {first: settings.checkpoints[first], **settings.checkpoints}
    return process.model_copy(update={"checkpoints": ordered})
