"""The section of asynchronous jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sdxl_gateway.config.section import Section


class Jobs(Section):
    """How many jobs are in memory at a time, and how many may wait."""

    live: Annotated[int, Field(ge=1, le=256)] = 16
    waiting_per_tenant: Annotated[int, Field(ge=1)] = 10_000
