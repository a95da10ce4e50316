"""The settings of the log and the metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sdxl_gateway.config.section import Section


class Telemetry(Section):
    """The log and the metrics."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    lora_label_limit: Annotated[int, Field(ge=0)] = 50
    checkpoint_label_limit: Annotated[int, Field(ge=0)] = 50
