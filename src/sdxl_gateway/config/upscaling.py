"""The section of an upscaling model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sdxl_gateway.config.section import Section


class Upscaler(Section):
    """An upscaling model of the ESRGAN family, a safetensors file, and the detail pass that follows it."""

    path: Path
    detail: Annotated[float, Field(ge=0, le=1)] = 0.0
