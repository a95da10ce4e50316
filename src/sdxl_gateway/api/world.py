"""What the routes are given: the gateway they speak to and the few callables around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask, Caller
from sdxl_gateway.gateway import Item
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

    def paint(self, ask: Ask, caller: Caller) -> AsyncIterator[Item]: ...
    @property
    def ready(self) -> bool: ...
    def readiness(self) -> dict[str, Any]: ...
    @property
    def shelf(self) -> Offers: ...


class Offers(Protocol):
    """What can be asked for."""

    def models(self) -> Sequence[ModelCard]: ...
    def model(self, name: str) -> ModelCard: ...
    def loras(self) -> list[dict[str, Any]]: ...
    def lora_problems(self) -> list[dict[str, str]]: ...
    async def lora(self, name: str) -> dict[str, Any]: ...
    async def add_lora(self, name: str, data: AsyncIterator[bytes], replace: bool) -> object: ...
    async def remove_lora(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """One answered request, for the metrics and the log; `retry_count` as the client's SDK told it.

    `painting` when it came to a route that paints; `refused` is the error code when such a request was turned away.
    `response_bytes` are those of the answer's body.
    """

    operation: str
    model: str
    status: int
    seconds: float
    retry_count: int
    request_id: str
    tenant: str
    ignored: tuple[str, ...] = ()
    painting: bool = False
    refused: str | None = None
    response_bytes: int = 0


def unseen(_: RequestSeen) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class World:
    """`metrics` takes an Accept header and gives a body and its content type."""

    gateway: Painter
    images: ImageStore
    settings: Settings
    metrics: Callable[[str], tuple[bytes, str]]
    version: str
    on_request: Callable[[RequestSeen], None] = unseen
    ping_seconds: float = 10.0
