"""The sections of nets that enlarge pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sdxl_gateway.config.section import Section


class Upscaler(Section):
    """A net of the ESRGAN family that enlarges pictures, a safetensors file, and the detail pass that follows it."""

    path: Path
    detail: Annotated[float, Field(ge=0, le=1)] = 0.0
