"""What a request gives, item by item: Accepted, Progressed, Partial and Presented as they come, then Done."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.events import Progressed
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.recipe import Background
from sdxl_gateway.delivery.deliver import Partial, Presented
from sdxl_gateway.delivery.receipt import Usage

__all__ = ["Accepted", "Done", "Item", "Partial", "Presented", "Progressed"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """First item of every stream: what the request resolved to; values as OpenAI echoes them, never "auto".

    `position` is the job's place in the line, 0 where an engine took it at once.
    """

    job_id: str
    size: Size
    quality: str
    output_format: str
    background: Background = "opaque"
    position: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """Last item of every stream that did not raise."""

    usage: Usage
    warnings: tuple[str, ...] = ()


Item = Accepted | Progressed | Partial | Presented | Done
