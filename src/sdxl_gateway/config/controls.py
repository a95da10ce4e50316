"""The sections of ControlNets."""

from __future__ import annotations

from sdxl_gateway.config.section import Section
from sdxl_gateway.core.recipe import Preprocessor


class Control(Section):
    """A ControlNet for the SDXL family, and what makes its maps of pictures."""

    path: str
    preprocessor: Preprocessor | None = None
    mode: str | None = None
