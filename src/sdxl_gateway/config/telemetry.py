"""The settings of the log, the metrics and the traces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sdxl_gateway.config.section import BaseUrl, Section
from sdxl_gateway.core.trace import Sampling, Trace


class Telemetry(Section):
    """The log and the metrics."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    lora_label_limit: Annotated[int, Field(ge=0)] = 50
    checkpoint_label_limit: Annotated[int, Field(ge=0)] = 50


class Traces(Section):
    """Where the spans of requests are sent, by OTLP over HTTP; nowhere without `endpoint`."""

    endpoint: BaseUrl | None = None
    sampling_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    service_name: Annotated[str, Field(min_length=1)] = "sdxl-gateway"

    @property
    def sampling(self) -> Sampling | None:
        """Which of the traces that begin here are recorded; None if nothing is traced."""
        return None if self.endpoint is None else Sampling(self.sampling_ratio)

    def begin(self) -> Trace | None:
        """A new trace's first span; None if nothing is traced."""
        return None if self.sampling is None else self.sampling.begin()
