"""The section of a ControlNet."""

from __future__ import annotations

from sdxl_gateway.config.section import Section
from sdxl_gateway.core.recipe import Preprocessor


class Control(Section):
    """A ControlNet for the SDXL family, and the preprocessor that makes its maps from pictures."""

    path: str
    preprocessor: Preprocessor | None = None
    mode: str | None = None
