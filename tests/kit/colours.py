"""A backend for whole servers, whose engine paints one colour immediately."""

from __future__ import annotations

from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.config import EngineProcess, Limits
from sdxl_gateway.core.listeners import EngineListener
from tests.kit.gateway import opened


def colour_backend(_: EngineProcess, limits: Limits, listener: EngineListener) -> LocalBackend:
    return LocalBackend(opened, queue_size=limits.queue_size, listener=listener)
