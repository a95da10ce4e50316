"""Takes how a server stands, gives it as operators read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.status import EngineNow, ServerStatus


class BlendPart(TypedDict):
    """A LoRA of the blend that is on; `name` is null where it was never asked for by name."""

    name: str | None
    digest: str
    weight: float


class EngineStatus(TypedDict):
    """One engine: `ready`, `held` as its machine is too hot or too full, or `lost` and being started again.

    `warm` are digests of LoRAs by tier, `memory` is what its ledger holds, in bytes by tier.
    """

    id: str
    state: Literal["ready", "held", "lost"]
    held_for: str | None
    device: str | None
    dtype: str | None
    card: str | None
    blend: list[BlendPart]
    warm: dict[str, list[str]]
    checkpoints: dict[str, list[str]]
    memory: dict[str, int]
    device_used_bytes: int


class QueueStatus(TypedDict):
    """Jobs that wait and that are painted; `predicted_wait_seconds` is what one that comes last now would wait."""

    waiting: int
    running: int
    waiting_by_class: dict[str, int]
    waiting_by_tenant: dict[str, int]
    predicted_wait_seconds: float


class Status(TypedDict):
    """How a server stands; `degraded` is background work that failed lately."""

    object: Literal["status"]
    version: str
    uptime_seconds: float
    ready: bool
    degraded: list[str]
    engines: list[EngineStatus]
    queue: QueueStatus


def told(status: ServerStatus, gateway: Gateway, version: str, *, ready: bool, degraded: Sequence[str]) -> Status:
    """As JSON."""
    line = gateway.line
    return {
        "object": "status",
        "version": version,
        "uptime_seconds": round(status.uptime_seconds, 1),
        "ready": ready,
        "degraded": list(degraded),
        "engines": [_engine(status, one) for one in status.engines],
        "queue": {
            "waiting": line.waiting,
            "running": line.running,
            "waiting_by_class": status.waiting_by_class,
            "waiting_by_tenant": status.waiting_by_tenant,
            "predicted_wait_seconds": round(line.wait_seconds, 3),
        },
    }


def _engine(status: ServerStatus, now: EngineNow) -> EngineStatus:
    opened, memory = now.opened, now.memory
    return {
        "id": now.id,
        "state": "lost" if opened is None else "ready" if now.held is None else "held",
        "held_for": None if now.held is None else now.held.reason,
        "device": None if opened is None else opened.device,
        "dtype": None if opened is None else opened.dtype,
        "card": None if opened is None else opened.card,
        "blend": [{"name": status.name_of(one), "digest": one, "weight": weight} for one, weight in memory.blend],
        "warm": {tier: list(digests) for tier, digests in memory.warm.items()},
        "checkpoints": {tier: list(names) for tier, names in memory.checkpoints.items()},
        "memory": dict(memory.bytes_by_tier),
        "device_used_bytes": memory.device_used_bytes,
    }
