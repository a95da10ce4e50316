"""What the endpoints are given: the gateway, and the few things around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.events import RequestAnswered
from sdxl_gateway.core.ports import Authenticator
from sdxl_gateway.gateway.library import ModelCard
from sdxl_gateway.gateway.lora_card import Lora, LoraProblem
from sdxl_gateway.gateway.paint import Item
from sdxl_gateway.storage.images import ImageStore


class PaintGateway(Protocol):
    """What the endpoints need of the gateway; every method may raise a GatewayError."""

    def paint(self, ask: Ask, caller: Caller, *, keep: bool = False) -> AsyncIterator[Item]: ...
    @property
    def ready(self) -> bool: ...
    def readiness(self) -> dict[str, Any]: ...
    @property
    def library(self) -> Library: ...


class Library(Protocol):
    """What the endpoints need of the model library; every method may raise a GatewayError."""

    def models(self) -> Sequence[ModelCard]: ...
    def model(self, name: str) -> ModelCard: ...
    def loras(self) -> list[Lora]: ...
    def lora_problems(self) -> list[LoraProblem]: ...
    async def lora(self, name: str) -> Lora: ...
    async def add_lora(self, name: str, data: AsyncIterator[bytes], replace: bool) -> object: ...
    async def remove_lora(self, name: str) -> None: ...


def unheard(_: RequestAnswered) -> None:
    """The listener of a server whose requests nobody counts."""


@dataclass(frozen=True, slots=True)
class Services:
    """`metrics` takes an Accept header and gives a body and its content type."""

    gateway: PaintGateway
    authenticator: Authenticator
    images: ImageStore
    settings: Settings
    metrics: Callable[[str], tuple[bytes, str]]
    version: str
    on_request: Callable[[RequestAnswered], None] = unheard
    ping_seconds: float = 10.0
