"""Takes nothing, gives what a figure depends on: processor, cores, threads and versions; no names and no paths."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sdxl_gateway.telemetry.device import describe_device

PACKAGES = ("sdxl-gateway", "torch", "diffusers", "transformers", "peft", "starlette", "uvicorn")


def describe_machine(torch_threads: int, device: str = "cpu") -> dict[str, Any]:
    return {
        "device": describe_device(device),
        "torch_threads": torch_threads,
        "python": platform.python_version(),
        "system": platform.system(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str | None:
    """None for what runs from a folder, and for what is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
