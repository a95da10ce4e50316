"""The measurements of an engine: Events that belong to no job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One batch of `lanes` canvases advanced one step; `work` is UNet rows times paint megapixels.

    These `seconds` and those below are measured on the device, and reported when it is done, maybe after later events.
    """

    seconds: float
    lanes: int
    work: float


@dataclass(frozen=True, slots=True)
class BlendSwitched:
    """The weights in place now belong to another blend; `layers` were rewritten."""

    seconds: float
    layers: int


@dataclass(frozen=True, slots=True)
class StageTimed:
    """A stage other than a step took this long: "encode", "references", "prepare" or "decode"."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """A model was loaded onto the device, from the `source` "host" or "disk"; `kind` is such as "checkpoint"."""

    kind: str
    source: str
    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AdapterLoaded:
    """An adapter was asked for: `source` is the tier it was found in ("vram", "host", "disk"), or "refused"."""

    digest: str
    source: str
    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AdapterEvicted:
    """An adapter left a tier ("vram" or "host") to make room."""

    digest: str
    tier: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryHeld:
    """What the memory ledger holds: bytes by tier and kind, and the digests of LoRAs in each tier.

    `checkpoints` are versions by tier, as a name may by now stand for another version. `device_by_kind` is the bytes on
    the device by kind: of models ("checkpoint", ...), "pristine" copies, "factors" of LoRAs, ...; `device_budget_bytes`
    is the most it may hold, None without a limit.
    """

    bytes_by_tier: dict[str, int] = field(default_factory=dict)
    warm: dict[str, tuple[str, ...]] = field(default_factory=dict)
    blend: tuple[tuple[str, float], ...] = ()
    device_used_bytes: int = 0
    checkpoints: dict[str, tuple[str, ...]] = field(default_factory=dict)
    device_by_kind: dict[str, int] = field(default_factory=dict)
    device_budget_bytes: int | None = None


HeldReason = Literal["temperature", "memory"]


@dataclass(frozen=True, slots=True)
class Held:
    """Painting is paused, as the GPU is too hot or its memory too full; without a `reason` it continues.

    `memory_ratio` is the share of the GPU's memory that is used by all processes; both are 0 if unknown.
    """

    reason: HeldReason | None
    celsius: float
    memory_ratio: float


Measurement = StepTaken | BlendSwitched | StageTimed | ModelLoaded | AdapterLoaded | AdapterEvicted | MemoryHeld | Held
