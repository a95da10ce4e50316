"""Takes nothing, gives what a figure depends on: processor, cores, threads and versions; no names and no paths."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from sdxl_gateway.telemetry.device import describe_device

PACKAGES = ("sdxl-gateway", "torch", "diffusers", "transformers", "peft", "starlette", "uvicorn")


def describe_machine(torch_threads: int, device: str = "cpu") -> dict[str, Any]:
    return {
        "device": describe_device(device),
        "torch_threads": torch_threads,
        "python": platform.python_version(),
        "system": platform.system(),
        "versions": {package: version(package) for package in PACKAGES},
    }
