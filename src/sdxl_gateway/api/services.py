"""What the routes are given: the gateway they speak to and the few callables around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.events import RequestAnswered
from sdxl_gateway.core.ports import Authenticator
from sdxl_gateway.gateway.paint import Item
from sdxl_gateway.storage.images import ImageStore


class ModelCard(Protocol):
    """One name a caller may ask for; `created` is unix seconds, `ready` is "warm" or "cold"."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def owned_by(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def ready(self) -> str: ...


class Painter(Protocol):
    """What the routes need of the gateway; every method may raise a GatewayError."""

    def paint(self, ask: Ask, caller: Caller, *, keep: bool = False) -> AsyncIterator[Item]: ...
    @property
    def ready(self) -> bool: ...
    def readiness(self) -> dict[str, Any]: ...
    @property
    def library(self) -> Offers: ...


class Offers(Protocol):
    """What can be asked for."""

    def models(self) -> Sequence[ModelCard]: ...
    def model(self, name: str) -> ModelCard: ...
    def loras(self) -> list[dict[str, Any]]: ...
    def lora_problems(self) -> list[dict[str, str]]: ...
    async def lora(self, name: str) -> dict[str, Any]: ...
    async def add_lora(self, name: str, data: AsyncIterator[bytes], replace: bool) -> object: ...
    async def remove_lora(self, name: str) -> None: ...


def unseen(_: RequestAnswered) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Services:
    """`metrics` takes an Accept header and gives a body and its content type."""

    gateway: Painter
    authenticator: Authenticator
    images: ImageStore
    settings: Settings
    metrics: Callable[[str], tuple[bytes, str]]
    version: str
    on_request: Callable[[RequestAnswered], None] = unseen
    ping_seconds: float = 10.0
