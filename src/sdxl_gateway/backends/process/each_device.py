"""The settings of an engine process, once for each device that is to paint."""

from __future__ import annotations

from sdxl_gateway.config import EngineProcess
from sdxl_gateway.telemetry.device import devices_of


def for_each_device(process: EngineProcess) -> list[EngineProcess]:
    """One engine for each device, in their order. Raises StartProblem if the devices cannot be listed."""
    devices = devices_of(process.engine)
    return [_on(device, process, len(devices)) for device in devices]


def _on(device: str, process: EngineProcess, engines: int) -> EngineProcess:
    engine = process.engine.model_copy(update={"device": device, "devices": ()})
    return process.model_copy(update={"engine": engine, "engines": engines})
