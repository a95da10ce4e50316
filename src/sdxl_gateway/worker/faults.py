"""Errors of an engine, as clients see them."""

from __future__ import annotations

import logging

from sdxl_gateway.core.errors import EngineFault, GatewayError

log = logging.getLogger(__name__)


def as_told(problem: Exception) -> GatewayError:
    """The error to report; messages of libraries go to the log only."""
    if isinstance(problem, GatewayError):
        return problem
    log.error("the engine failed", exc_info=problem)
    return EngineFault("The engine failed while painting this picture.")
