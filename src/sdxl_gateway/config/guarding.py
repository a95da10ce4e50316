"""The settings of an engine's guard against an overheated or overfull machine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sdxl_gateway.config.section import Seconds, Section


class Guard(Section):
    """Above a limit no step is taken until the value is below it by `resume_*`; 0 turns a limit off."""

    max_celsius: Annotated[float, Field(ge=0, le=150)] = 90.0
    resume_celsius: Annotated[float, Field(gt=0, le=100)] = 5.0
    max_memory_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    resume_memory_ratio: Annotated[float, Field(gt=0, le=1)] = 0.02
    every_seconds: Seconds = 1.0
    unready_seconds: Seconds = 60.0
