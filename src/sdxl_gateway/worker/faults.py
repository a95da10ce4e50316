"""Takes what an engine raised, gives what a client may know of it."""

from __future__ import annotations

import logging

from sdxl_gateway.core.errors import EngineFault, GatewayError

log = logging.getLogger(__name__)


def as_told(problem: Exception) -> GatewayError:
    """Library text stays in the log."""
    if isinstance(problem, GatewayError):
        return problem
    log.error("the engine failed", exc_info=problem)
    return EngineFault("The engine failed while painting this picture.")
