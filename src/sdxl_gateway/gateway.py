"""The story of a request on one page: resolve, submit, follow, finish each picture, hand it out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.core.ask import Ask, Caller


@dataclass(frozen=True, slots=True)
class Presented:
    """A picture ready to leave: encoded bytes, its address when one was asked for, and how to make it again."""

    index: int
    data: bytes
    url: str | None
    seed: int
    recipe: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Partial:
    """An encoded look at the running picture."""

    partial_index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """First item of every stream: what the request resolved to; values as OpenAI echoes them, never "auto"."""

    job_id: str
    size: str
    quality: str
    background: str
    output_format: str
    wants_url: bool
    wants_b64: bool


@dataclass(frozen=True, slots=True)
class Done:
    """Last item of every stream that did not raise."""

    usage: dict[str, Any]
    warnings: tuple[str, ...] = ()


Item = Accepted | Partial | Presented | Done


class Gateway:
    def paint(self, ask: Ask, caller: Caller) -> AsyncIterator[Item]:
        """Accepted, then Partial and Presented as they come, then Done; raises a GatewayError at any point.

        Closing the iterator early cancels the job within one denoising step.
        """
        raise NotImplementedError
