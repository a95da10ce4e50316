"""The sections of nets that enlarge pictures."""

from __future__ import annotations

from pathlib import Path

from sdxl_gateway.config.section import Section


class Upscaler(Section):
    """A net of the ESRGAN family that enlarges pictures, a safetensors file."""

    path: Path
