"""What a request gives, item by item: Accepted, Progressed, Partial, Presented and Withheld as they come, then Done."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.events import LookupOutcome, Progressed
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.recipe import Background
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.delivery.deliver import Partial, Presented
from sdxl_gateway.delivery.receipt import Usage

__all__ = ["Accepted", "Done", "Item", "Partial", "Presented", "Progressed", "Withheld"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """First item of every stream: what the request resolved to; values as OpenAI echoes them, never "auto".

    `position` is the job's place in the line, 0 where an engine took it at once. `cache` says whether the pictures were
    painted before; None where nobody looked. `arm` is that of the rollout that was asked for.
    """

    job_id: str
    size: Size
    quality: str
    output_format: str
    background: Background = "opaque"
    position: int = 0
    cache: LookupOutcome | None = None
    arm: Arm | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Last item of every stream that did not raise."""

    usage: Usage
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Withheld:
    """In the place of a picture that was painted and may not leave; where that befalls all of them, it is raised."""

    index: int
    seed: int
    error: GatewayError


Item = Accepted | Progressed | Partial | Presented | Withheld | Done
