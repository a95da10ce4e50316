"""A server's status, as operators see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.core.events import MemoryHeld
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.status import EngineNow, ServerStatus
from sdxl_gateway.gateway.throughput import RECENT_SECONDS


class BlendPart(TypedDict):
    """A LoRA of the engine's current blend; `name` is null if it was never requested by name."""

    name: str | None
    digest: str
    weight: float


class DeviceMemory(TypedDict):
    """What an engine's ledger counts on its device, in bytes: `by_kind`, models under their own kind ("checkpoint",
    "control", ...), besides "pristine" copies of weights, "factors" of LoRAs and the weights computed from them
    ("dense"), "recordings" and "text keys".

    `budget_bytes` is the most it may hold and `free_bytes` what is left of that; null if there is no limit.
    """

    by_kind: dict[str, int]
    held_bytes: int
    budget_bytes: int | None
    free_bytes: int | None


class EngineStatus(TypedDict):
    """One engine: `ready`, `held` because its machine is too hot or too full, or `lost` and being restarted.

    `warm` are digests of LoRAs by tier, `memory` is what its ledger counts, in bytes by tier, and `device_memory` the
    part of it on the device, by kind; `device_used_bytes` is the GPU memory of the whole process.
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
    device_memory: DeviceMemory
    device_used_bytes: int


class QueueStatus(TypedDict):
    """Waiting and running jobs; `predicted_wait_seconds` is the expected wait of a job that is queued last now."""

    waiting: int
    running: int
    waiting_by_class: dict[str, int]
    waiting_by_tenant: dict[str, int]
    predicted_wait_seconds: float


class Throughput(TypedDict):
    """`pictures` and `steps` since the server's start; a step counts once for each picture in its batch.

    `p50_seconds` and `p95_seconds` are percentiles of the time, waiting included, of the `recent_jobs` that finished in
    the last `recent_seconds`; null if there are none.
    """

    pictures: int
    steps: int
    recent_seconds: float
    recent_jobs: int
    p50_seconds: float | None
    p95_seconds: float | None


class Status(TypedDict):
    """A server's status; `degraded` names background work that failed lately.

    `lora_names` are the names by which the warm LoRAs were last requested, by digest.
    """

    object: Literal["status"]
    version: str
    uptime_seconds: float
    ready: bool
    degraded: list[str]
    engines: list[EngineStatus]
    queue: QueueStatus
    throughput: Throughput
    lora_names: dict[str, str]


def told(status: ServerStatus, gateway: Gateway, version: str, *, ready: bool, degraded: Sequence[str]) -> Status:
    """The status as a JSON object."""
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
        "throughput": _throughput(status),
        "lora_names": _names(status),
    }


def _names(status: ServerStatus) -> dict[str, str]:
    warm = {digest for one in status.engines for digests in one.memory.warm.values() for digest in digests}
    return {digest: name for digest in sorted(warm) if (name := status.name_of(digest)) is not None}


def _throughput(status: ServerStatus) -> Throughput:
    done, recent = status.throughput, status.throughput.recent
    return {
        "pictures": done.pictures,
        "steps": done.steps,
        "recent_seconds": RECENT_SECONDS,
        "recent_jobs": recent.jobs,
        "p50_seconds": None if recent.p50_seconds is None else round(recent.p50_seconds, 3),
        "p95_seconds": None if recent.p95_seconds is None else round(recent.p95_seconds, 3),
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
        "device_memory": _device_memory(memory),
        "device_used_bytes": memory.device_used_bytes,
    }


def _device_memory(memory: MemoryHeld) -> DeviceMemory:
    held, budget = sum(memory.device_by_kind.values()), memory.device_budget_bytes
    return {
        "by_kind": dict(memory.device_by_kind),
        "held_bytes": held,
        "budget_bytes": budget,
        "free_bytes": None if budget is None else max(budget - held, 0),
    }
